"""Mistakes that the tests must notice: `python -m tests.mutations` makes each of them and looks."""
