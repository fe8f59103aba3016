"""Which schema this program works with."""

REVISION = "0002"
"""The newest migration; tests hold it equal to Alembic's head."""
