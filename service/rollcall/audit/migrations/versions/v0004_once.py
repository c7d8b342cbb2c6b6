"""What was done for which idempotency key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Let an event say for which key it was done."""
    op.add_column("event", sa.Column("idempotency", sa.String(64)))
    op.create_index("event_idempotency", "event", ["idempotency"], unique=True)


def downgrade() -> None:
    """Go back: what was done stays, and for which key does not."""
    op.drop_index("event_idempotency", "event")
    op.drop_column("event", "idempotency")
