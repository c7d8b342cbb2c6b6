"""What lists are made from: entries by type, events by type and time, and what a model's records come to by time."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Let the database find few among many, and count records without reading them."""
    op.create_index("leaf_type", "leaf", ["type", "leaf_index"])
    op.create_index("event_type", "event", ["type", "created_at", "record_id", "code"])
    op.create_index(
        "record_trend",
        "record",
        ["model", "created_at", "type", "flag", "reason", "mismatch", "usable_for_notice", "model_digest", "tenant"],
    )


def downgrade() -> None:
    """Go back: the same is found, more slowly."""
    op.drop_index("record_trend", "record")
    op.drop_index("event_type", "event")
    op.drop_index("leaf_type", "leaf")
