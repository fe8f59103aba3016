"""One message delivered by hand, at once and without a spool: what the command `lmtp` does.

The conversation is the worker's (`spooler.net`, `spooler.lmtp`), and so are the rules by which its replies
are judged (`spooler.policy.classify`). No database is known here.
"""
