"""The journal of a worker: what it was about to hand over, and what it was told, before the spool knows.

A worker that is killed leaves recipients under its lease. Without a journal each of them may have been
delivered; with it only those may that have an intent and no result.
"""
