"""Decisions that were not explained, the index over what callers call decisions and subjects, and keys of subjects."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from rollcall.audit.migrations import protect

revision = "0002"
down_revision = "0001"

OPTIONAL: dict[str, sa.types.TypeEngine[Any]] = {
    "explanation_id": sa.String(32),
    "policy": sa.Text(),
    "flag": sa.String(16),
    "reason": sa.String(24),
    "usable_for_notice": sa.Boolean(),
}
"""Columns that only an explanation has."""


def upgrade() -> None:
    """Make what is new. SQLite makes the table of records anew, without its triggers."""
    with op.batch_alter_table("record") as record:
        record.add_column(sa.Column("type", sa.String(16), nullable=False, server_default="explanation"))
        for name, kind in OPTIONAL.items():
            record.alter_column(name, existing_type=kind, nullable=True)
    protect("record")
    op.create_table(
        "subject_key",
        sa.Column("key_id", sa.String(16), primary_key=True),
        sa.Column("encryption_key", sa.String(16), nullable=False),
        sa.Column("wrapped", sa.LargeBinary()),
    )
    op.create_table(
        "reference",
        sa.Column("record_id", sa.String(36), sa.ForeignKey("record.record_id"), primary_key=True),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
    )
    op.create_index("reference_digest", "reference", ["digest"])


def downgrade() -> None:
    """Go back; only a log without decisions can."""
    op.drop_table("reference")
    op.drop_table("subject_key")
    with op.batch_alter_table("record") as record:
        record.drop_column("type")
        for name, kind in OPTIONAL.items():
            record.alter_column(name, existing_type=kind, nullable=False)
    protect("record")
