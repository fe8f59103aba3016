"""Mistakes in the dialogue with a server and in what is made of it: lmtp, net, policy."""

from __future__ import annotations

from tests.mutations.trying import Mutation

_CLASSIFY = "tests/policy/test_classify.py"

LMTP = (
    Mutation(
        "reply index off by one",
        "spooler/lmtp/slots.py",
        "transaction.final[transaction.accepted[self.read]] = reply",
        "transaction.final[transaction.accepted[self.read - 1]] = reply",
        ("tests/lmtp/test_client.py",),
    ),
    Mutation(
        "a run of replies off by one",
        "spooler/lmtp/slots.py",
        "first, last = self.read, self.read + len(replies)",
        "first, last = self.read + 1, self.read + 1 + len(replies)",
        ("tests/lmtp/test_client.py",),
    ),
    Mutation(
        "stuffing of the first octet skipped",
        "spooler/lmtp/stuffing.py",
        "if data[0] == 0x2E and self._tail[-1] == 0x0A:",
        "if data[0] == 0x2E and self._tail[-1] == 0x0A and self._tail is not CRLF:",
        ("tests/lmtp/test_stuffing.py",),
    ),
    Mutation(
        "dot-stuffing off at seams",
        "spooler/lmtp/stuffing.py",
        "if data[0] == 0x2E and self._tail[-1] == 0x0A:",
        "if data[0] == 0x2E and self._tail is CRLF:",
        ("tests/lmtp/test_fuzz.py::test_no_smuggling",),
    ),
    Mutation(
        "dots doubled at the ends of CRLF alone",
        "spooler/lmtp/stuffing.py",
        'data.replace(b"\\n.", b"\\n..")',
        'data.replace(b"\\r\\n.", b"\\r\\n..")',
        ("tests/lmtp/test_stuffing.py", "tests/lmtp/test_fuzz.py"),
    ),
    Mutation(
        "alignment marker not checked",
        "spooler/lmtp/listener.py",
        "if not fits or slot.misplaced(reply, self.trust.rset):",
        "if False:",
        ("tests/lmtp/test_alignment.py",),
    ),
    Mutation(
        "RSET in other words than before believed as the last final reply",
        "spooler/lmtp/proof.py",
        "short = transaction in owing and len(transaction.accepted) > 1",
        "short = False",
        ("tests/lmtp/test_chunks.py",),
    ),
    Mutation(
        "RSET's reply not held against its words",
        "spooler/lmtp/slots.py",
        "            return reply != rset\n",
        "            return False\n",
        ("tests/lmtp/test_chunks.py",),
    ),
    Mutation(
        "uncertain one octet too late",
        "spooler/lmtp/outgoing.py",
        "if at is not None and self.sent <= at:",
        "if at is not None and self.sent <= at + 1:",
        ("tests/lmtp/test_client.py", "tests/lmtp/test_chunks.py"),
    ),
    Mutation(
        "a bare line feed taken in a reply",
        "spooler/lmtp/grammar.py",
        r'rb"([2-5][0-5][0-9])(?:([ -])([^\x00\r\n]*))?"',
        r'rb"([2-5][0-5][0-9])(?:([ -])([^\x00\r]*))?"',
        ("tests/lmtp/test_replies.py",),
    ),
    Mutation(
        "> let into an address",
        "spooler/lmtp/commands.py",
        r'_FORBIDDEN = re.compile(r"[\x00-\x1f>',
        r'_FORBIDDEN = re.compile(r"[\x00-\x1f',
        ("tests/lmtp/test_commands.py",),
    ),
)

NET = (
    Mutation(
        "intent not pushed before the send",
        "spooler/net/session.py",
        "if source is not None and not source.commit() and self._client.ends_unsent:",
        "if source is None and self._client.ends_unsent:",
        ("tests/net/test_before_the_end.py",),
    ),
    Mutation(
        "end-of-data sent though the journal cannot be written",
        "spooler/net/session.py",
        "not source.commit() and self._client.ends_unsent:",
        "not source.commit() and False:",
        ("tests/net/test_before_the_end.py",),
    ),
    Mutation(
        "end-of-data without leave",
        "spooler/net/session.py",
        "if transaction is None or not source.ending(transaction):",
        "source.ending(transaction)\n        if transaction is None:",
        ("tests/net/test_before_the_end.py",),
    ),
    Mutation(
        "leave not looked at again after a wait",
        "spooler/net/session.py",
        "self._source is not None and not self._source.may_end():",
        "self._source is None:",
        ("tests/net/test_before_the_end.py",),
    ),
    Mutation(
        "an end of data sent behind a 421",
        "spooler/net/session.py",
        "            if self._client.closed:\n                return  #",
        "            if False:\n                return  #",
        ("tests/net/test_before_the_end.py",),
    ),
    Mutation(
        "what was not taken counted as sent",
        "spooler/net/session.py",
        "            self._client.sent(taken)",
        "            self._client.sent(len(data))",
        ("tests/net/test_before_the_end.py",),
    ),
    Mutation(
        "a pooled connection used without a look",
        "spooler/net/session.py",
        "return self._client.idle and not self.worn and self._transport.receive() is None",
        "return self._client.idle and not self.worn",
        ("tests/net/test_session.py::test_idle_session_is_good_until_something_arrives",),
    ),
)

POLICY = (
    Mutation(
        "success on a missing reply",
        "spooler/policy/classify.py",
        "return Verdict(_DEFERRED, seen.fault_stage, text=seen.fault or",
        "return Verdict(_DELIVERED, seen.fault_stage, text=seen.fault or",
        (_CLASSIFY,),
    ),
    Mutation(
        "a provisional final reply believed",
        "spooler/policy/classify.py",
        "if seen.final is not None and not seen.final_provisional:",
        "if seen.final is not None:",
        (_CLASSIFY,),
    ),
    Mutation(
        "retry after end-of-data",
        "spooler/policy/classify.py",
        "if seen.handed_over and (seen.envelope_provisional or not _refused(seen)):",
        "if False:",
        (_CLASSIFY,),
    ),
    Mutation(
        "uncertain not recorded",
        "spooler/policy/classify.py",
        "        uncertain=True,\n",
        "        uncertain=False,\n",
        (_CLASSIFY,),
    ),
    Mutation(
        "503 fails a recipient",
        "spooler/policy/classify.py",
        "_OUT_OF_PLACE = frozenset({503, 530})",
        "_OUT_OF_PLACE = frozenset({530})",
        (_CLASSIFY,),
    ),
    Mutation(
        "backoff without jitter",
        "spooler/policy/backoff.py",
        "return longest - int(longest / 2 * _spread(message_id, attempt))",
        "return longest",
        ("tests/policy/test_timing.py",),
    ),
    Mutation(
        "503 for MAIL taken for a refusal",
        "spooler/policy/classify.py",
        "(reply.temporary or reply.permanent) and reply.code not in _OUT_OF_PLACE\n        for reply in (",
        "not reply.positive\n        for reply in (",
        ("tests/policy/test_classify.py", "tests/policy/test_classify_table.py"),
    ),
)
