"""Whole workers on a real spool against a target that fails by chance, in made-up time, from a seed.

A seed decides everything: what is sent, how long workers live and how they die, what servers are like and
what goes wrong when. Time is trio's `MockClock`, which jumps to the next deadline as soon as nobody has
anything to do, so days of retries pass in a moment. Nothing runs in threads, and no real socket is used.

    world ─┬─ lives (life)     workers of the product, one after the other, each to its end or its death
           │    ├─ spool (shaky)    a real SQLite spool, called inline, that refuses by chance
           │    ├─ journal (diary)  a real journal, which dies in the middle of a note by chance
           │    └─ wire             what the product takes for a connection
           ├─ sites (site, dialogue) LMTP servers written for this alone
           └─ oracle            what really happened, held against the spool's tables

The oracle and the servers share no code with the product. What is asked of the product is listed in `oracle`.
Limits: the power never fails (nothing is synced), there is no TLS, and the spool is SQLite.
"""
