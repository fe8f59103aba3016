"""Every reply at every stage, on a real connection: what becomes of the one recipient."""

from __future__ import annotations

import pytest
import trio

from spooler.claim import Claim, ClaimedRecipient
from spooler.config import Route
from spooler.delivery.parcel import Circumstances, Parcel, reckon
from spooler.envelope import BodyType, Notify
from spooler.net.lost import SessionLostError
from spooler.reply import Stage
from tests.net.peer import Peer, Script, connected

BODY = b"Subject: x\r\n\r\nx\r\n"
ORDER = (Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.FINAL)
GOOD = {Stage.MAIL: b"250 2.1.0", Stage.RCPT: b"250 2.1.5", Stage.DATA: b"354 go", Stage.FINAL: b"250 2.0.0"}
BEHIND = {Stage.MAIL: b"503 5.5.1", Stage.RCPT: b"503 5.5.1", Stage.DATA: b"503 5.5.1"}
"""What follows a refusal in the same group."""

DELIVERED, DEFERRED, FAILED = "delivered", "deferred", "failed"
AGAIN, UNCERTAIN = "again at once", "uncertain"

LONG = b"250 " + b"x" * 3000
WORDS: dict[bytes, dict[Stage, str]] = {
    b"250 2.0.0 ok": {Stage.DATA: AGAIN, Stage.FINAL: DELIVERED},
    b"251 2.1.5 elsewhere": {Stage.FINAL: DELIVERED},
    b"250": {Stage.FINAL: DELIVERED},
    b"421 4.3.2 closing": {**dict.fromkeys(ORDER, DEFERRED), Stage.FINAL: UNCERTAIN},
    b"421": {**dict.fromkeys(ORDER, DEFERRED), Stage.FINAL: UNCERTAIN},
    b"450 4.2.0 locked": dict.fromkeys(ORDER, DEFERRED),
    b"451 4.3.0 later": dict.fromkeys(ORDER, DEFERRED),
    b"452 4.2.2 full": dict.fromkeys(ORDER, DEFERRED),
    b"452 4.5.3 too many": dict.fromkeys(ORDER, DEFERRED),
    b"552 5.2.2 full": dict.fromkeys(ORDER, FAILED),
    b"550 5.1.1 unknown": dict.fromkeys(ORDER, FAILED),
    b"554 5.7.1 no": dict.fromkeys(ORDER, FAILED),
    b"501 5.5.4 bad parameter": dict.fromkeys(ORDER, FAILED),
    b"503 5.5.1 sequence": {**dict.fromkeys(ORDER, DEFERRED), Stage.FINAL: UNCERTAIN},
    b"530 5.7.0 log in first": {**dict.fromkeys(ORDER, DEFERRED), Stage.FINAL: UNCERTAIN},
    b"354 go": {Stage.MAIL: AGAIN, Stage.RCPT: AGAIN, Stage.FINAL: UNCERTAIN},
    b"220 hello": {**dict.fromkeys(ORDER, AGAIN), Stage.FINAL: UNCERTAIN},
    b"221 bye": {**dict.fromkeys(ORDER, AGAIN), Stage.FINAL: UNCERTAIN},
    b"nonsense": {**dict.fromkeys(ORDER, AGAIN), Stage.FINAL: UNCERTAIN},
    b"650 no such class": {**dict.fromkeys(ORDER, AGAIN), Stage.FINAL: UNCERTAIN},
    b"250 bare\rline": {**dict.fromkeys(ORDER, AGAIN), Stage.FINAL: UNCERTAIN},
    b"250-two\r\n550 codes": {**dict.fromkeys(ORDER, AGAIN), Stage.FINAL: UNCERTAIN},
    LONG: {**dict.fromkeys(ORDER, AGAIN), Stage.FINAL: UNCERTAIN},
    b"": {**dict.fromkeys(ORDER, AGAIN), Stage.FINAL: UNCERTAIN},
}
"""What is said at each stage, b"" for a hang-up, and what becomes of the recipient."""


async def outcome(stage: Stage, words: bytes) -> str:
    """Run one transaction in which the server says `words` at `stage`, all else as it should be."""
    script = Script(BODY)
    async with connected() as (session, peer), trio.open_nursery() as nursery:
        nursery.start_soon(serve, peer, stage, words)
        await session.greet("client")
        fault, at = "", Stage.CONNECT
        try:
            await session.run(script)
            (transaction,) = script.done
        except SessionLostError as lost:
            fault, at = lost.why, lost.stage
            (transaction,) = [*script.done, *session.unfinished()]
        session.close()
        nursery.cancel_scope.cancel()
    recipient = ClaimedRecipient(0, "r0@x", 0, 1, 0, Notify(0), None)
    claim = Claim(
        message_id=1,
        route="r",
        sender="a@x",
        content=1,
        size=len(BODY),
        body=BodyType.SEVEN_BIT,
        smtputf8=False,
        envid=None,
        ret=None,
        created=0,
        expires=10**15,
        recipients=(recipient,),
    )
    around = Circumstances(route=Route(destinations=[]), destination="peer", now=0, may_repeat=True)
    parcel = Parcel(claim=claim, recipients=claim.recipients, content=BODY)
    reckoning = reckon(transaction, parcel, around, fault=fault, stage=at)
    if not reckoning.results:
        assert reckoning.fresh_connection == [recipient]
        return AGAIN
    (result,) = reckoning.results
    return UNCERTAIN if result.uncertain else result.outcome.value


async def serve(peer: Peer, stage: Stage, words: bytes) -> None:
    """Be the server."""
    await peer.greet()
    await peer.hear(b"DATA\r\n")
    said = {**GOOD, stage: words}
    if words[:1] in (b"4", b"5") and stage in (Stage.MAIL, Stage.RCPT):
        said.update({later: BEHIND[later] for later in ORDER[ORDER.index(stage) + 1 : -1]})
    for one in ORDER[: ORDER.index(stage) + 1] if not words else ORDER[:-1]:
        if one is not Stage.FINAL and said[one]:
            await peer.say(said[one] + b"\r\n")
    if said[Stage.DATA][:1] == b"3" and stage in (Stage.DATA, Stage.FINAL):
        await peer.hear(b"\r\n.\r\n")
        if said[Stage.FINAL]:
            await peer.say(said[Stage.FINAL] + b"\r\n")
    if not words or words[:3] == b"421":
        await peer.hang_up()
    elif b"RSET" in await peer.stream.receive_some():
        await peer.say(b"250 2.0.0\r\n")


@pytest.mark.parametrize(
    ("stage", "words", "becomes"),
    [(stage, words, becomes) for words, at in WORDS.items() for stage, becomes in at.items()],
)
async def test_every_reply_at_every_stage(stage: Stage, words: bytes, becomes: str) -> None:
    """Delivered by its own 2yz alone, failed by a 5yz in place alone; else it is tried again."""
    with trio.fail_after(10):
        assert await outcome(stage, words) == becomes
