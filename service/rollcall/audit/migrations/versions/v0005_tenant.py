"""Whose a record is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Let a record be found by its tenant; those that are there are nobody's in particular."""
    op.add_column("record", sa.Column("tenant", sa.Text()))
    op.create_index("record_tenant", "record", ["tenant"])


def downgrade() -> None:
    """Go back; envelopes still say it."""
    op.drop_index("record_tenant", "record")
    op.drop_column("record", "tenant")
