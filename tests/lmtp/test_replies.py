"""The reply reader: what it takes, what it refuses, and that the cuts between blocks do not matter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spooler.lmtp.errors import RemoteProtocolError
from spooler.lmtp.grammar import MAX_REPLY_LINE, MAX_REPLY_LINES
from spooler.lmtp.replies import ReplyReader
from spooler.reply import Reply


def read(*blocks: bytes) -> tuple[list[Reply], str, int]:
    """What a reader makes of these blocks: replies, the kind of fault or "", octets pending."""
    reader = ReplyReader()
    replies: list[Reply] = []
    for block in blocks:
        try:
            replies += reader.feed(block)
        except RemoteProtocolError as error:
            return [*replies, *error.replies], "fault", 0
    return replies, "", reader.pending


GOOD = [
    (b"250\r\n", Reply(250, "", ("",))),
    (b"250 \r\n", Reply(250, "", ("",))),
    (b"250 OK\r\n", Reply(250, "", ("OK",))),
    (b"250 2.1.0 Ok\r\n", Reply(250, "2.1.0", ("Ok",))),
    (b"250 2.1.0\r\n", Reply(250, "2.1.0", ("",))),
    (b"250 2.1.0 \r\n", Reply(250, "2.1.0", ("",))),
    (b"552 5.2.2 over quota\r\n", Reply(552, "5.2.2", ("over quota",))),
    (b"452-4.2.2 over\r\n452 4.2.2 quota\r\n", Reply(452, "4.2.2", ("over", "quota"))),
    (b"452-4.2.2 over\r\n452 4.3.0 quota\r\n", Reply(452, "4.2.2", ("over", "4.3.0 quota"))),
    (b"452-over\r\n452 4.3.0 quota\r\n", Reply(452, "", ("over", "4.3.0 quota"))),
    (b"250-a\r\n250-\r\n250\r\n", Reply(250, "", ("a", "", ""))),
    (b"250 5.1.1 another class\r\n", Reply(250, "", ("5.1.1 another class",))),
    (b"354 3.0.0 no such class\r\n", Reply(354, "", ("3.0.0 no such class",))),
    (b"250 2.1.1234 no code\r\n", Reply(250, "", ("2.1.1234 no code",))),
    (b"250 2.1.5.6 no code\r\n", Reply(250, "", ("2.1.5.6 no code",))),
    (b"550 a\x1b[31mred\x7f\r\n", Reply(550, "", ("a\\x1b[31mred\\x7f",))),
    (b"550 caf\xc3\xa9 \xff\xe2\x80\xae\r\n", Reply(550, "", ("café \\xff\\u202e",))),
    (b"550 a\tb\r\n", Reply(550, "", ("a\\tb",))),
    (b"250 " + b"x" * (MAX_REPLY_LINE - 6) + b"\r\n", Reply(250, "", ("x" * (MAX_REPLY_LINE - 6),))),
    (
        b"250-x\r\n" * (MAX_REPLY_LINES - 1) + b"250 x\r\n",
        Reply(250, "", ("x",) * MAX_REPLY_LINES),
    ),
]


@pytest.mark.parametrize(("octets", "reply"), GOOD)
def test_good_reply(octets: bytes, reply: Reply) -> None:
    """A good reply reads the same whole, an octet at a time, and with more behind it."""
    assert read(octets) == ([reply], "", 0)
    assert read(*(octets[i : i + 1] for i in range(len(octets)))) == ([reply], "", 0)
    assert read(octets + b"250-tail\r\n250") == ([reply], "", 13)
    assert read(octets + octets) == ([reply, reply], "", 0)
    assert read(octets[:-1], octets[-1:] + octets) == ([reply, reply], "", 0)


BAD = [
    b"250 bare\n250 lf\r\n",
    b"250 bare\rcr\r\n",
    b"250 two\r\r\n",
    b"250 nul\0\r\n",
    b"\r\n",
    b"25\r\n",
    b"2500\r\n",
    b"250\ttab\r\n",
    b"250+plus\r\n",
    b" 250 blank\r\n",
    b"150 preliminary\r\n",
    b"650 no class\r\n",
    b"260 no second digit\r\n",
    b"199\r\n",
    b"2\xb2\xb3 digits\r\n",
    b"HTTP/1.1 400 Bad Request\r\n",
    b"250-one\r\n251 two\r\n",
    b"250-one\r\n550-two\r\n",
    b"250-one\r\nno code\r\n",
    b"250 " + b"x" * (MAX_REPLY_LINE - 5) + b"\r\n",
    b"250-x\r\n" * MAX_REPLY_LINES + b"250 x\r\n",
]


@pytest.mark.parametrize("octets", BAD)
def test_bad_reply(octets: bytes) -> None:
    """What is malformed is a fault however it is cut, and the replies in front of it are kept."""
    before = Reply(250, "2.0.0", ("before",))
    octets = b"250 2.0.0 before\r\n" + octets
    assert read(octets) == ([before], "fault", 0)
    assert read(*(octets[i : i + 1] for i in range(len(octets)))) == ([before], "fault", 0)
    assert read(octets + b"250 behind\r\n") == ([before], "fault", 0)


@pytest.mark.parametrize(
    "octets",
    [b"220 hello\n", b"\x16\x03\x01\0", b"a\rb", b"x" * (MAX_REPLY_LINE - 1), b"x" * 10_000],
)
def test_line_that_never_ends(octets: bytes) -> None:
    """A fault that no further octet can mend is found before the line ends."""
    assert read(octets) == ([], "fault", 0)


def test_line_at_its_limit_may_end_in_the_next_block() -> None:
    """The last octets of the longest line may be cut anywhere, between CR and LF too."""
    line = b"250 " + b"x" * (MAX_REPLY_LINE - 6) + b"\r\n"
    for cut in range(len(line) - 4, len(line)):
        assert read(line[:cut]) == ([], "", cut)
        assert len(read(line[:cut], line[cut:])[0]) == 1


def test_fault_is_told_in_one_safe_line() -> None:
    """The message of a fault shows what came, escaped and short."""
    with pytest.raises(RemoteProtocolError) as caught:
        ReplyReader().feed(b"\x1b[31m" + b"x" * 1000 + b"\r\n")
    assert str(caught.value).startswith("the server sent not a reply: b'\\x1b[31mxxx")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 120


def test_line_known_as_a_reply_is_also_the_end_of_a_longer_one() -> None:
    """The memo of replies of one line is not asked within a reply of several."""
    known = Reply(250, "", ("ok",))
    assert read(b"250 ok\r\n250-first\r\n250 ok\r\n250 ok\r\n")[0] == [
        known,
        Reply(250, "", ("first", "ok")),
        known,
    ]
    assert read(b"250 ok\r\n550-first\r\n250 ok\r\n") == ([known], "fault", 0)


def test_memo_is_bounded() -> None:
    """A server whose replies never repeat does not make the reader grow."""
    reader = ReplyReader()
    for i in range(2000):
        assert reader.feed(b"250 queued as %d\r\n" % i) == [Reply(250, "", (f"queued as {i}",))]
        assert len(reader._memo) <= 256
    reader.feed(b"250 " + b"x" * 1000 + b"\r\n")
    assert max(map(len, reader._memo)) <= 128


PIECES = st.sampled_from(
    [b"250", b"550", b"354", b"199", b" ", b"-", b"\r\n", b"\r", b"\n", b"\0", b"2.1.0", b"text", b"\xff"]
)


@given(data=st.data(), octets=st.lists(PIECES, max_size=60).map(b"".join))
def test_any_cut_gives_the_same(data: st.DataObject, octets: bytes) -> None:
    """However a stream is cut, the same replies come out of it, and the same end."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=12)))
    blocks = [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    assert read(*blocks) == read(octets)


@given(
    replies=st.lists(
        st.tuples(st.integers(200, 559), st.lists(st.text(max_size=20), min_size=1, max_size=4)), max_size=5
    ),
    size=st.integers(1, 30),
)
def test_whatever_a_sound_server_says_is_read(replies: list[tuple[int, list[str]]], size: int) -> None:
    """Any text without CR, LF and NUL is taken, and what comes out is safe to print."""
    octets = b""
    count = 0
    for number, texts in replies:
        code = number - number // 10 % 10 // 6 * 40  # second digit 0 to 5
        lines = [text.translate(dict.fromkeys(map(ord, "\r\n\0"))) for text in texts]
        for i, line in enumerate(lines):
            octets += b"%d%s%s\r\n" % (code, b"- "[i == len(lines) - 1 :][:1], line.encode())
        count += 1
    read_back, fault, pending = read(*(octets[i : i + size] for i in range(0, len(octets), size)))
    assert (len(read_back), fault, pending) == (count, "", 0)
    assert all(line.isprintable() for reply in read_back for line in reply.lines)
