"""Messages through the client role and a model of a server, in as many sessions as it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spooler.lmtp.client import Client
from spooler.lmtp.errors import RemoteProtocolError
from spooler.lmtp.events import Event, Finished, Greeting
from spooler.lmtp.mode import Mode
from spooler.lmtp.transaction import Recipient, Transaction
from spooler.lmtp.trust import Trust
from spooler.policy.classify import Seen, Verdict, judge
from spooler.result import Outcome
from tests.lmtp.server_model import Flavour, Model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random


class Run:
    """All messages with one trust; `drops` is one in how many turns the connection is lost, 0 for never."""

    def __init__(
        self,
        random: Random,
        flavour: Flavour,
        sizes: list[int],
        *,
        drops: int = 0,
        depths: Sequence[int] = (1, 2, 5, 16),
    ) -> None:
        self.trust = Trust()
        self.truth: dict[str, dict[str, bool]] = {}
        self.over: list[Transaction] = []
        self.overlapped = 0
        self.deepest = 0
        """Most chunked transactions in flight."""
        self._random = random
        self.flavour = flavour
        self._depths = depths
        self.drops = drops
        self._losses = 50 if drops else 0  # an end, however the dice fall
        self._pieces: list[bytes] = []
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
        client.depth = self._random.choice(self._depths)
        model = Model(self.flavour, self._random.randrange, self.truth)
        self._pieces = []
        over_before = len(self.over)
        try:
            while self._turn(client, model):
                pass
        except RemoteProtocolError:
            pass
        self.over += client.unfinished()
        assert self.drops or len(self.over) > over_before or not self._todo, "a session without progress"

    def _turn(self, client: Client, model: Model) -> bool:
        self._speak(client)
        octets = client.data_to_send()
        lost = self._losses > 0 and self._random.randrange(self.drops) == 1
        if lost:
            self._losses -= 1
            octets = octets[: self._random.randrange(len(octets) + 1)]
        if octets:
            cut = self._random.randrange(len(octets) + 1)
            client.sent(cut)
            model.feed(octets[:cut])
            client.sent(len(octets) - cut)
            if not lost:
                model.feed(octets[cut:])
        if lost:
            cut = self._random.randrange(len(model.output) + 1)
            self._react(client, client.receive(model.output[:cut]))
            self._react(client, client.eof())
            return False
        if model.output and not (octets and self._random.randrange(2)):
            cut = self._random.randrange(1, len(model.output) + 1)
            said, model.output = model.output[:cut], model.output[cut:]
            self._react(client, client.receive(said))
        elif client.awaiting_silence and not model.output:
            self._react(client, client.silence_confirmed())
        elif client.next_stage is not None and not octets and not model.output:
            self._react(client, client.deadline_passed())
            return False
        return not client.closed and not (client.idle and (client.worn or not self._todo))

    def _speak(self, client: Client) -> None:
        """Give what is due and begin what may begin."""
        while True:
            due = client.body_due
            if due is None:
                if not (self._todo and client.can_begin):
                    return
                self.overlapped += client.next_stage is not None
                client.begin(self._todo.pop(0))
                self._pieces = []
                if client.open > 1 and client.mode is Mode.CHUNKED:
                    self.deepest = max(self.deepest, client.open)
                continue
            if not self._pieces and not client.chunks_unanswered and due is not self._given:
                self._given = due
                body = b"for %b" % due.sender.encode()
                cuts = sorted(
                    self._random.randrange(len(body)) for _ in range(self._random.choice([0, 0, 2]))
                )
                self._pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
            if self._pieces:
                client.body(self._pieces.pop(0))
                if not self._random.randrange(30):
                    return  # what was given goes out before the rest
            elif client.chunks_unanswered:
                return
            else:
                client.end_body()

    _given: Transaction | None = None

    def _react(self, client: Client, events: list[Event]) -> None:
        for event in events:
            match event:
                case Greeting():
                    client.lhlo("me")
                case Finished(transaction=transaction):
                    assert transaction.proven
                    self.over.append(transaction)
                case _:
                    pass


def verdicts(transaction: Transaction) -> list[Verdict]:
    """What is made of each recipient, by the product's own rules."""
    return [
        judge(
            Seen(
                mail=transaction.mail,
                rcpt=transaction.rcpt[i],
                data=transaction.data,
                final=transaction.final[i],
                handed_over=transaction.uncertain,
                envelope_provisional=transaction.envelope_provisional,
                final_provisional=transaction.final_provisional,
            )
        )
        for i in range(len(transaction.recipients))
    ]


def check(run: Run, count: int) -> None:
    """No false success, no false failure, nothing delivered and called safe, nothing lost from sight."""
    assert sorted(one.sender for one in run.over) == sorted(f"m{m}@x" for m in range(count))
    for transaction in run.over:
        if run.drops and run.flavour.fault == "one for each RCPT":
            # Cut short, this fault shows only where a sign stands behind the final replies: the words
            # of RSET, or the marker. Without, the client believes what it was told, as it must.
            signed = transaction.mode is Mode.CHUNKED and not transaction.alone
            if not signed or run.flavour.bland:
                continue
        delivered = run.truth.get(transaction.sender, {})
        for recipient, verdict in zip(transaction.recipients, verdicts(transaction), strict=True):
            truth = delivered.get(recipient.address, False)
            if verdict.outcome is Outcome.DELIVERED:
                assert truth, f"a false success: {transaction}"
            elif verdict.outcome is Outcome.FAILED:
                assert not truth, f"a false failure: {transaction}"
            elif truth:
                assert verdict.uncertain, f"delivered, and called safe to repeat: {transaction}"
