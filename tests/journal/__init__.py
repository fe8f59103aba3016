"""The journal: what is written, what is found, and what a torn or foreign one says."""
