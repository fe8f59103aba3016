"""A diagnosis: what is wrong with a configuration, its spool and its destinations, and how to mend it.

Everything is looked at and nothing is changed. What looks is kept apart from what judges where looking is
more than a call: `probe` and `spooler.spool.examination` return facts, and functions make findings of them.
"""
