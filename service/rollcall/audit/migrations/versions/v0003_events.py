"""What was done with records, and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rollcall.audit.migrations import protect

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables of events and notes."""
    op.create_table(
        "event",
        sa.Column("leaf_index", sa.Integer(), sa.ForeignKey("leaf.leaf_index"), primary_key=True, autoincrement=False),
        sa.Column("event_id", sa.String(36), nullable=False, unique=True),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("created_at", sa.String(24), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("record_id", sa.String(36), sa.ForeignKey("record.record_id")),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("code", sa.String(24), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    op.create_index("event_record_id", "event", ["record_id"])
    op.create_index("event_about", "event", ["about"])
    op.create_table(
        "note",
        sa.Column("event_id", sa.String(36), sa.ForeignKey("event.event_id"), primary_key=True),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
    )
    protect("event")


def downgrade() -> None:
    """Go back; only a log without events can."""
    op.drop_table("note")
    op.drop_table("event")
