"""What Alembic runs: the migrations, on the connection that `store` hands in."""

from __future__ import annotations

from alembic import context

from rollcall.audit.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
