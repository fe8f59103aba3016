"""Alembic's entry: runs on the connection that `spooler.spool.migrate` opened, in its transaction."""

from __future__ import annotations

from alembic import context

from spooler.spool.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite's is, when the driver lets it be
)
with context.begin_transaction():
    context.run_migrations()
