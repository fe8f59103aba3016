"""How often a worker shows that it lives, and when it is taken for dead. All in seconds."""

PERIOD = 5.0
"""Between beats."""
FRESH = 30.0
"""No end-of-data is sent when the last good beat began longer ago."""
DEAD = 60.0
"""Without a beat."""
GRACE = 300.0
"""More, for whoever can read its journal."""
LATE = 3 * PERIOD
"""Without a beat: it is told that nothing was heard."""
