"""A server that speaks LMTP (RFC 2033, 5321, 2920, 3030) for one connection, and fails by chance.

It tells the oracle what it stored and what it answered, in that order, and what it says is true: a recipient
that was told "250" at the end has its copy, one that was told "4xx" or "5xx" has none. Where it says
something else than it meant, nothing is answered. What it says too much, it says in one piece with what
was due: a reply too many that comes later, out of the blue, cannot be told from an answer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from tests.simulation.speech import HangUp, Speech
from tests.simulation.wire import Gone

if TYPE_CHECKING:
    from tests.simulation.chance import Chance
    from tests.simulation.site import Profile
    from tests.simulation.truth import Truth
    from tests.simulation.wire import Wire

_SERIOUS = {"4xx": (450, 451, 452), "5xx": (550, 552, 554)}


class Dialogue:
    """One connection; `crowded`: there are more than are allowed."""

    def __init__(
        self, profile: Profile, wire: Wire, chance: Chance, truth: Truth, *, crowded: bool = False
    ) -> None:
        self.profile = profile
        self.chance = chance
        self._wire = wire
        self._truth = truth
        self._crowded = crowded
        self._speech = Speech(profile, wire, chance)
        self._sender: str | None = None
        self._named = 0
        self._accepted: list[str] = []
        self._chunks = b""
        self._chunk_failed = False

    async def run(self) -> None:
        """Until either side has enough."""
        reset = False
        try:
            await self._greet()
            while True:
                idle = self._sender is None
                await self._command(await self._speech.line(idle=idle))
        except Gone:
            pass
        except HangUp as how:
            reset = how.reset
            if not reset:
                await self._speech.flush()
        finally:
            self._speech.note("hangs up", "hard" if reset else "")
            self._wire.hang_up(reset=reset)

    async def _say(self, code: int, enhanced: str, text: str, stage: str = "") -> bool:
        return await self._speech.say(code, enhanced, text, stage=stage)

    async def _trouble(self, stage: str) -> tuple[int, str] | None:
        """What goes wrong at a command: a refusal to be said, or HangUp is raised."""
        chance = self.chance
        if chance.strikes(f"lost at {stage}"):
            raise HangUp(reset=chance.may(0.5))
        if chance.strikes(f"421 at {stage}"):
            await self._bye(stage)
        for kind, codes in _SERIOUS.items():
            if chance.strikes(f"{kind} at {stage}"):
                return chance.pick(codes), f"{kind[0]}.3.0"
        return None

    async def _bye(self, stage: str) -> None:
        self._answered(stage, 421)
        await self._speech.say(421, "4.3.2", "closing")
        raise HangUp

    def _answered(self, stage: str, code: int, recipients: list[str] | None = None) -> None:
        if self._sender is not None:
            whom = self._accepted if recipients is None else recipients
            self._truth.answered(stage, self._sender, whom, code)

    async def _greet(self) -> None:
        chance = self.chance
        await self._speech.pause()
        if chance.strikes("no greeting"):
            await trio.sleep(math.exp(chance.between(0, 6)))
            raise HangUp
        if self._crowded:
            chance.hit("session limit")
            await self._say(421, "4.7.0", "too many connections")
            raise HangUp
        trouble = await self._trouble("connect")
        if trouble is not None:
            await self._say(*trouble, "no service")
            raise HangUp
        await self._say(220, "", "sim LMTP")
        if self._speech.pending and chance.strikes("early reply"):
            self._speech.glued = True
            self._speech.put_raw(b"250 2.0.0 nobody asked\r\n")

    async def _command(self, line: str) -> None:
        self._speech.note("hears", line)
        if self.chance.strikes("stops reading"):
            await self._speech.flush()
            await trio.sleep(self.chance.pick((20.0, 100.0, 1000.0)))
        verb = line.split(" ")[0].split(":")[0]
        address = line.partition("<")[2].partition(">")[0]
        match verb:
            case "LHLO":
                await self._lhlo()
            case "RSET":
                self._clear()
                text = "saved" if self.profile.bland else "reset"
                await self._say(250, "2.0.0", text, "rset")
            case "MAIL":
                await self._mail(address, line)
            case "RCPT":
                await self._rcpt(address)
            case "DATA":
                await self._data()
            case "BDAT":
                _, size, *last = line.split(" ")
                assert last in ([], ["LAST"]), line
                await self._bdat(int(size), last=bool(last))
            case _:
                assert verb == "QUIT", line
                await self._say(221, "2.0.0", "bye")
                raise HangUp

    async def _lhlo(self) -> None:
        if self.chance.strikes("no LMTP"):
            await self._say(self.chance.pick((500, 502)), "5.5.2", "what?")
            return
        trouble = await self._trouble("lhlo")
        if trouble is not None:
            await self._say(*trouble, "not you", "lhlo")
            return
        offers = sorted(self.profile.offers - {"SIZE"})
        if self.profile.has("SIZE"):
            offers.append(f"SIZE {self.profile.size}" if self.profile.size else "SIZE")
        lines = "".join(f"250-{offer}\r\n" for offer in offers)
        self._speech.put_raw(f"250-sim\r\n{lines}250 X-SIM\r\n".encode())

    async def _mail(self, sender: str, line: str) -> None:
        if self._sender is not None:
            await self._say(503, "5.5.1", "nested", "mail")
            return
        assert " SMTPUTF8" not in line or self.profile.has("SMTPUTF8"), "SMTPUTF8 was not offered"
        assert " BODY=" not in line or self.profile.has("8BITMIME"), "8BITMIME was not offered"
        assert " SIZE=" not in line or self.profile.has("SIZE"), "SIZE was not offered"
        self._sender = sender
        refusal = await self._trouble("mail")
        if refusal is not None:
            if await self._say(*refusal, "no mail now", "mail"):
                self._answered("mail", refusal[0], ["*"])
            self._sender = None
            return
        await self._say(250, "2.1.0" if self.profile.marked else "2.0.0", "sender", "mail")

    async def _rcpt(self, address: str) -> None:
        if self._sender is None:
            await self._say(503, "5.5.1", "no MAIL", "rcpt")
            return
        self._named += 1
        refusal = await self._trouble("rcpt")
        if refusal is None and len(self._accepted) >= self.profile.recipients:
            self.chance.hit("too many recipients")
            refusal = 452, self.chance.pick(("4.5.3", ""))
        if refusal is not None:
            if await self._say(*refusal, address, "rcpt"):
                self._answered("rcpt", refusal[0], [address])
            return
        self._accepted.append(address)
        if not await self._say(250, "2.1.5" if self.profile.marked else "2.0.0", address, "rcpt"):
            self._accepted.pop()

    async def _data(self) -> None:
        if self._sender is None:
            await self._say(503, "5.5.1", "no MAIL", "data")
        elif not self._accepted:
            if self.chance.strikes("354 for nobody"):
                if await self._say(354, "", "go", "data"):
                    await self._body()
                self._clear()
            else:
                await self._say(self.chance.pick((503, 554)), "5.5.1", "nobody", "data")
        elif (refusal := await self._trouble("data")) is not None:
            if await self._say(*refusal, "no room", "data"):
                self._answered("data", refusal[0])
            if not self.profile.nested:
                self._clear()
        elif await self._say(354, "", "go", "data"):
            content = await self._body()
            if content is not None and self._accepted:
                await self._end(content, "data")
            self._clear()

    async def _body(self) -> bytes | None:
        """Read a content; None where it was refused meanwhile."""
        chance = self.chance
        lines: list[str] = []
        upset = chance.rng.randint(0, 3) if chance.strikes("early reply") else -1
        lost = chance.rng.randint(0, 3) if chance.strikes("lost at body") else -1
        bye = chance.rng.randint(0, 3) if chance.strikes("421 at body") else -1
        refusals = {kind: chance.strikes(f"{kind} at body") for kind in _SERIOUS}
        if chance.strikes("stops reading"):
            await self._speech.flush()
            await trio.sleep(chance.pick((20.0, 100.0, 1000.0)))
        refused = False
        while (line := await self._speech.line()) != ".":
            number = len(lines)
            lines.append(line.removeprefix("."))
            if number == lost:
                raise HangUp(reset=chance.may(0.5))
            if number == bye:
                self._answered("final", 421)
                await self._speech.say(421, "4.3.2", "closing")
                raise HangUp
            if number == upset and not refused:
                refused = True
                await self._refuse_all("5xx" if refusals["5xx"] or chance.may(0.5) else "4xx")
                await self._speech.flush()
        if refused:
            return None
        for kind, struck in refusals.items():
            if struck:  # the content is not liked
                await self._refuse_all(kind)
                return None
        return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")

    async def _refuse_all(self, kind: str) -> None:
        for address in self._accepted:
            code = self.chance.pick(_SERIOUS[kind])
            if await self._say(code, f"{kind[0]}.6.0", f"not this, {address}", "final"):
                self._answered("final", code, [address])

    async def _bdat(self, size: int, *, last: bool) -> None:
        lost = self.chance.strikes("lost at body")
        chunk = await self._speech.octets(size // 2 if lost else size)
        if lost:
            raise HangUp(reset=self.chance.may(0.5))
        if self._sender is None or self._chunk_failed:
            await self._say(503, "5.5.1", "no MAIL, or a chunk failed", "body")
        elif not self._accepted:
            if not (last and self.profile.silent):
                await self._say(503, "5.5.1", "nobody", "body")
            if last and (self.profile.silent or not self.profile.nested):
                self._clear()
            else:
                self._chunk_failed = True
        elif last:
            await self._end(self._chunks + chunk, "bdat")
            self._clear()
        elif (refusal := await self._trouble("body")) is not None:
            self._chunk_failed = True
            if await self._say(*refusal, "no room", "body"):
                self._answered("data", refusal[0])
        else:
            self._chunks += chunk
            await self._say(250, "2.0.0", f"{len(chunk)} octets", "body")

    async def _end(self, content: bytes, how: str) -> None:
        """All of a content is there: store it for some, refuse it to others, and say so, or not."""
        chance = self.chance
        assert self._sender is not None
        self._truth.ended(self._sender, self._wire.age_at(self._speech.at))
        bye = chance.strikes("421 at final")
        lost = not bye and chance.strikes("lost at final")
        until = chance.rng.randint(0, len(self._accepted) - 1) if bye or lost else len(self._accepted)
        replies: list[tuple[str, int, str]] = []
        for i, address in enumerate(self._accepted):
            if bye and i == until:
                replies.append((address, 421, "closing"))
            else:
                replies.append(self._store(address, content, how, heard=i < until))
        if bye:
            del replies[until + 1 :]
        elif lost:
            del replies[until:]
        elif len(replies) > 1 and chance.strikes("fewer replies"):
            del replies[chance.rng.randrange(len(replies)) :]
        await self._speech.pause()
        for address, code, text in replies:
            enhanced = {2: "2.0.0", 4: "4.2.0", 5: "5.2.0"}[code // 100]
            if await self._say(code, enhanced, text, "" if code == 421 else "final"):
                self._answered("final", code, [address])
        if bye or lost:
            raise HangUp(reset=lost and chance.may(0.5))
        if len(replies) == len(self._accepted) and self._speech.pending and chance.strikes("more replies"):
            self._speech.glued = True
            for _ in range(chance.rng.randint(1, 3)):
                self._speech.put_raw(
                    b"250 2.0.0 saved\r\n" if self.profile.has("ENHANCEDSTATUSCODES") else b"250 saved\r\n"
                )
            await self._speech.flush()

    def _store(self, address: str, content: bytes, how: str, *, heard: bool) -> tuple[str, int, str]:
        """Store it for one, or not; return the reply, which may not be `heard`."""
        chance = self.chance
        code, text = 250, "saved"
        for kind, codes in _SERIOUS.items():
            if chance.strikes(f"{kind} at final"):
                code, text = chance.pick(codes), f"not for {address}"
        if not heard and chance.may(0.5):
            code = 451
        if code == 250:
            assert self._sender is not None
            self._truth.stored(self._sender, address, content, how)
        return address, code, text

    def _clear(self) -> None:
        self._sender = None
        self._named = 0
        self._accepted = []
        self._chunks = b""
        self._chunk_failed = False
