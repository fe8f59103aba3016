"""The client role against a model of servers, sound and broken, with replies cut anywhere."""

from __future__ import annotations

import random as random_module
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spooler.lmtp.mode import Mode
from tests.lmtp.model_run import Run, check
from tests.lmtp.server_model import FAULTS, Flavour

if TYPE_CHECKING:
    from random import Random


def flavours(faults: list[str]) -> st.SearchStrategy[Flavour]:
    """Servers with one of these faults."""
    flag = st.booleans()
    return st.builds(Flavour, flag, flag, flag, st.sampled_from(faults), flag, flag, flag, flag, flag)


SIZES = st.lists(st.sampled_from([1, 1, 2, 3, 9]), min_size=1, max_size=60)


@settings(deadline=None)
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


@settings(max_examples=400, deadline=None)
@given(random=st.randoms(use_true_random=False), flavour=flavours(FAULTS), sizes=SIZES)
def test_server_that_cannot_count(random: Random, flavour: Flavour, sizes: list[int]) -> None:
    """Nothing is believed that is not true: no false success, no false failure, nothing lost from sight."""
    run = Run(random, flavour, sizes)
    run.all()
    check(run, len(sizes))


@settings(max_examples=200, deadline=None)
@given(
    random=st.randoms(use_true_random=False),
    flavour=flavours(["", *FAULTS]),
    sizes=SIZES,
    drops=st.sampled_from([5, 20, 60]),
)
def test_connections_that_are_lost(random: Random, flavour: Flavour, sizes: list[int], drops: int) -> None:
    """The same where the connection is lost at any octet in either direction."""
    run = Run(random, flavour, sizes, drops=drops)
    run.all()
    check(run, len(sizes))


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_the_model_is_driven_to_the_full_depth(*, silent: bool, nested: bool) -> None:
    """Sixteen whole transactions in flight, with every kind of refusal among them."""
    flavour = Flavour(
        pipelining=True,
        enhanced=True,
        chunking=True,
        fault="",
        nested=nested,
        silent=silent,
        bland=False,
        rare=False,
        busy=False,
    )
    run = Run(random_module.Random(1), flavour, [1, 2, 3] * 200, depths=[16])
    run.all()
    assert run.deepest > 12
    assert run.trust.mode is Mode.CHUNKED
    assert sum(one.mode is Mode.CHUNKED for one in run.over) > 500
    assert 452 in {one.data.code for one in run.over if one.data is not None}
    check(run, 600)
