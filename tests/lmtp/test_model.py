"""The client role against a model of servers, sound and broken, with replies cut anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spooler.lmtp.client import Client
from spooler.lmtp.errors import RemoteProtocolError
from spooler.lmtp.events import Event, Finished, GoAhead, Greeting
from spooler.lmtp.transaction import Recipient, Transaction
from spooler.lmtp.trust import Trust
from tests.lmtp.server_model import Flavour, Model

if TYPE_CHECKING:
    from random import Random

    from spooler.reply import Reply


class Run:
    """All messages through as many sessions as it takes, with one trust."""

    def __init__(self, random: Random, flavour: Flavour, sizes: list[int]) -> None:
        self.trust = Trust()
        self.truth: dict[str, dict[str, bool]] = {}
        self.over: list[Transaction] = []
        self.overlapped = 0
        self._random = random
        self._flavour = flavour
        self._todo = [
            Transaction(sender=f"m{m}@x", recipients=[Recipient(f"r{r}@x") for r in range(size)])
            for m, size in enumerate(sizes)
        ]

    def all(self) -> None:
        """Until nothing is left to begin."""
        while self._todo:
            self._session()

    def _session(self) -> None:
        client = Client(trust=self.trust)
        model = Model(self._flavour, self._random.randrange, self.truth)
        over_before = len(self.over)
        try:
            while self._turn(client, model):
                pass
        except RemoteProtocolError:
            pass
        self.over += client.unfinished()
        assert len(self.over) > over_before or not self._todo, "a session without progress"

    def _turn(self, client: Client, model: Model) -> bool:
        while self._todo and client.can_begin:
            self.overlapped += client.next_stage is not None
            client.begin(self._todo.pop(0))
        octets = client.data_to_send()
        if octets:
            cut = self._random.randrange(len(octets) + 1)
            for part in (octets[:cut], octets[cut:]):
                client.sent(len(part))
                model.feed(part)
        if model.output:
            cut = self._random.randrange(1, len(model.output) + 1)
            said, model.output = model.output[:cut], model.output[cut:]
            self._react(client, client.receive(said))
        elif client.awaiting_silence:
            self._react(client, client.silence_confirmed())
        elif client.next_stage is not None:
            self._react(client, client.deadline_passed())
            return False
        return not client.closed and not (client.idle and not self._todo)

    def _react(self, client: Client, events: list[Event]) -> None:
        for event in events:
            match event:
                case Greeting():
                    client.lhlo("me")
                case GoAhead(transaction=transaction):
                    client.body(b"for %b" % transaction.sender.encode())
                    client.end_body()
                case Finished(transaction=transaction):
                    assert transaction.proven
                    self.over.append(transaction)
                case _:
                    pass


def believed(transaction: Transaction, i: int) -> Reply | None:
    """The reply that settles a recipient, by invariant 3; None if none does."""
    if transaction.final[i] is not None:
        return None if transaction.final_provisional else transaction.final[i]
    if transaction.envelope_provisional:
        return None
    rcpt = transaction.rcpt[i]
    return None if rcpt is None or rcpt.positive else rcpt


FAULTS = ["fewer", "one for all", "more"]


def flavours(faults: list[str]) -> st.SearchStrategy[Flavour]:
    """Servers with one of these faults."""
    return st.builds(Flavour, st.booleans(), st.booleans(), st.sampled_from(faults), st.booleans())


SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=25)


@given(random=st.randoms(use_true_random=False), flavour=flavours([""]), sizes=SIZES)
def test_sound_server(random: Random, flavour: Flavour, sizes: list[int]) -> None:
    """Every transaction is proven in one session, and every reply is the one that was meant."""
    run = Run(random, flavour, sizes)
    run.all()
    assert len(run.over) == len(sizes)
    assert [one.sender for one in run.over] == [f"m{m}@x" for m in range(len(sizes))]
    assert run.trust.doubts == 0
    assert run.overlapped == 0 or flavour.pipelining
    for transaction in run.over:
        assert transaction.proven
        delivered = run.truth.get(transaction.sender, {})
        for i, recipient in enumerate(transaction.recipients):
            reply = transaction.final[i]
            assert (reply is not None) is (recipient.address in delivered)
            assert reply is None or reply.positive is delivered[recipient.address]
            rcpt = transaction.rcpt[i]
            if rcpt is not None and rcpt.code not in (503, 451):
                assert recipient.address in rcpt.text  # its own, by the address in it


@settings(max_examples=400)
@given(random=st.randoms(use_true_random=False), flavour=flavours(FAULTS), sizes=SIZES)
def test_server_that_cannot_count(random: Random, flavour: Flavour, sizes: list[int]) -> None:
    """Nothing is believed that is not true: no false success, no false failure, nothing lost from sight."""
    run = Run(random, flavour, sizes)
    run.all()
    assert sorted(one.sender for one in run.over) == sorted(f"m{m}@x" for m in range(len(sizes)))
    for transaction in run.over:
        delivered = run.truth.get(transaction.sender, {})
        for i, recipient in enumerate(transaction.recipients):
            truth = delivered.get(recipient.address)
            reply = believed(transaction, i)
            if reply is not None and reply.positive:
                assert truth is True, "a false success"
            if reply is not None and reply.permanent and reply.code != 503:
                assert not truth, "a false failure"
            if truth and not transaction.uncertain:
                pytest.fail("delivered, and called safe to repeat")
