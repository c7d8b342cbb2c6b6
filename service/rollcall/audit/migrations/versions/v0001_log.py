"""Records, their payloads and keys, and the log over them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from rollcall.audit.migrations import drop_refusal, make_refusal, protect

revision = "0001"
down_revision = None

IMMUTABLE = ("leaf", "record", "checkpoint")


def upgrade() -> None:
    """Make all tables, and the triggers that refuse to change what must not change."""
    op.create_table(
        "log",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
    )
    op.create_table(
        "leaf",
        sa.Column("leaf_index", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("record_id", sa.String(36), unique=True),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "record",
        sa.Column("record_id", sa.String(36), sa.ForeignKey("leaf.record_id"), primary_key=True),
        sa.Column("created_at", sa.String(24), nullable=False),
        sa.Column("explanation_id", sa.String(32), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("model_digest", sa.String(71), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("predicted", sa.Text(), nullable=False),
        sa.Column("flag", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(24), nullable=False),
        sa.Column("usable_for_notice", sa.Boolean(), nullable=False),
        sa.Column("mismatch", sa.Boolean(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
    )
    op.create_index("record_created_at", "record", ["created_at"])
    op.create_index("record_model_flag", "record", ["model", "flag"])
    op.create_index("record_explanation_id", "record", ["explanation_id"], unique=True)
    op.create_table(
        "data_key",
        sa.Column("record_id", sa.String(36), sa.ForeignKey("record.record_id"), primary_key=True),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "payload",
        sa.Column("record_id", sa.String(36), sa.ForeignKey("record.record_id"), primary_key=True),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "tile",
        sa.Column("level", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("tile_index", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "checkpoint",
        sa.Column("size", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("note", sa.Text(), nullable=False),
    )
    make_refusal()
    for table in IMMUTABLE:
        protect(table)


def downgrade() -> None:
    """Remove everything."""
    for table in ("checkpoint", "tile", "payload", "data_key", "record", "leaf", "log"):
        op.drop_table(table)
    drop_refusal()
