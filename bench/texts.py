"""What the reports say beside their figures: what was measured, and how everything was set."""

from __future__ import annotations

DRAINS = (
    "Who delivers faster, on one machine that everything shares. In each case the entrants take turns, "
    "{rounds} rounds; figures are medians, beside the least and the greatest. Ratios are made within each "
    "round. Repeat it with `make bench`."
)
CLAIMS = (
    "How long a claim of {claim} takes, and settling as many, while more and more waits in the spool: "
    "medians of {rounds}, backlogs in turn. From the longest backlog it must not take more than 1.5 times as "
    "long as from the shortest. Repeat it with `make bench-backlog`."
)
MEMORY = (
    "The most memory that a worker held, all its processes together (what they share is counted for each); "
    "no more than 150 MB (143 MiB) are allowed. Repeat it with `make bench-memory`."
)
KILLS = (
    "Workers killed with SIGKILL under full load, {sessions} connections at most, at random moments: one in "
    "seven was stopped for a while before, and of one in seven its spool process died instead. A last one "
    "delivers what is left. Copies are counted by what the target wrote down; second ones can come of what "
    "was on the wire without an answer, and each has its uncertain attempt in the ledger. Postfix, whose "
    "lmtp processes were all killed each time, had 20 connections too. Repeat it with `make bench-kills`."
)
POSTFIX_KILLS, POSTFIX_RECIPIENTS, POSTFIX_DUPLICATES = 10, 6000, 6  # measured for this project
SETTINGS = {
    "spooler": "as by default (`spooler drain --spool … --target …`): every commit on disk, a log line for "
    "every transaction, into a file; timed by its own log from the worker's start until everything is "
    "settled",
    "spooler, Postgres": "a private Postgres on the same machine, fsync and synchronous commits on, defaults "
    "otherwise, by UNIX socket",
    "Postfix": "an instance of its own, queue on the same disk, no chroot, no DNS, log by its own service "
    "into a file; 20 connections and 100 recipients a transaction at most unless said otherwise; filled by "
    "smtp-source while delivery is put off, timed from `postqueue -f` until its queues are empty",
    "the wire": "`smtp-source -L -d -s 10`: no queue, no disk; one message after the other on 10 connections",
    "smtplib": "the LMTP class of Python's standard library, one `sendmail` after the other on one "
    "connection",
    "smtp-sink": "`smtp-sink -L -c` of Postfix",
    "Dovecot": "mdbox, one INBOX a user, `mail_fsync = optimized`; mailboxes made before",
    "Cyrus": "300 users, `duplicatesuppression: no`; mailboxes made before",
    "a line of 20 ms": "a process of the bench's own that passes every block on 10 ms later, either way",
    "checks": "every run: the ledger (Postfix: its log) and the target's own count say that each recipient "
    "was delivered once; and each way in which spooler ran delivers once more into a sink that records "
    "every reply, and is compared recipient by recipient, content by content",
}
