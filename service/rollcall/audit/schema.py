"""The tables of the log's database. `migrations` makes them; a test holds the two against each other.

record: an envelope, and columns that repeat some of it so that it can be searched (`columns_of`); a decision that was
not explained has no verdict.
payload, data_key, subject_key, reference: what erasure destroys. A data key is wrapped by the key that `key_id` names,
a subject's or the operator's. reference: the index over what callers call decisions and subjects (`references`).
leaf: an entry of the log, byte for byte, under its index. tile: see `tiles`. checkpoint: a signed note by size.
event: what was done with records (`events`); its columns repeat its body. note: why, sealed; erasure destroys it, too.
log: one row, the origin and the size: whoever appends must find the size that it has computed with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

METADATA = MetaData()

LOG = Table(
    "log",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("origin", Text, nullable=False),
    Column("size", Integer, nullable=False),
)
LEAF = Table(
    "leaf",
    METADATA,
    Column("leaf_index", Integer, primary_key=True, autoincrement=False),
    Column("type", String(32), nullable=False),
    Column("record_id", String(36), unique=True),
    Column("entry", LargeBinary, nullable=False),
    Column("leaf_hash", LargeBinary, nullable=False),
    Index("leaf_type", "type", "leaf_index"),
)
RECORD = Table(
    "record",
    METADATA,
    Column("record_id", String(36), ForeignKey("leaf.record_id"), primary_key=True),
    Column("type", String(16), nullable=False),
    Column("created_at", String(24), nullable=False),
    Column("explanation_id", String(32)),
    Column("mode", String(16), nullable=False),
    Column("model", Text, nullable=False),
    Column("model_digest", String(71), nullable=False),
    Column("policy", Text),
    Column("predicted", Text, nullable=False),
    Column("flag", String(16)),
    Column("reason", String(24)),
    Column("usable_for_notice", Boolean),
    Column("mismatch", Boolean, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("tenant", Text),
    Index("record_tenant", "tenant"),
    Index("record_created_at", "created_at"),
    Index("record_model_flag", "model", "flag"),
    Index("record_explanation_id", "explanation_id", unique=True),
    Index(
        "record_trend",
        "model",
        "created_at",
        "type",
        "flag",
        "reason",
        "mismatch",
        "usable_for_notice",
        "model_digest",
        "tenant",
    ),
)
DATA_KEY = Table(
    "data_key",
    METADATA,
    Column("record_id", String(36), ForeignKey("record.record_id"), primary_key=True),
    Column("key_id", String(16), nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
)
SUBJECT_KEY = Table(
    "subject_key",
    METADATA,
    Column("key_id", String(16), primary_key=True),
    Column("encryption_key", String(16), nullable=False),
    Column("wrapped", LargeBinary),
)
REFERENCE = Table(
    "reference",
    METADATA,
    Column("record_id", String(36), ForeignKey("record.record_id"), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Index("reference_digest", "digest"),
)
PAYLOAD = Table(
    "payload",
    METADATA,
    Column("record_id", String(36), ForeignKey("record.record_id"), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("nonce", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
)
TILE = Table(
    "tile",
    METADATA,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("tile_index", Integer, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
)
CHECKPOINT = Table(
    "checkpoint",
    METADATA,
    Column("size", Integer, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
)
EVENT = Table(
    "event",
    METADATA,
    Column("leaf_index", Integer, ForeignKey("leaf.leaf_index"), primary_key=True, autoincrement=False),
    Column("event_id", String(36), nullable=False, unique=True),
    Column("type", String(16), nullable=False),
    Column("created_at", String(24), nullable=False),
    Column("actor", Text, nullable=False),
    Column("record_id", String(36), ForeignKey("record.record_id")),
    Column("about", Text, nullable=False),
    Column("code", String(24), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("idempotency", String(64)),
    Index("event_idempotency", "idempotency", unique=True),
    Index("event_record_id", "record_id"),
    Index("event_about", "about"),
    Index("event_type", "type", "created_at", "record_id", "code"),
)
NOTE = Table(
    "note",
    METADATA,
    Column("event_id", String(36), ForeignKey("event.event_id"), primary_key=True),
    Column("key_id", String(16), nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
)
IMMUTABLE = ("leaf", "record", "checkpoint", "event")
"""Tables whose rows are never changed or removed: triggers refuse it."""


def columns_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """What the table repeats of a record's envelope."""
    verdict = body["verdict"] or {}
    return {
        "record_id": body["record_id"],
        "type": body["type"],
        "created_at": body["created_at"],
        "explanation_id": body.get("explanation_id"),
        "mode": body["governance"]["mode"],
        "model": body["model"]["name"],
        "model_digest": body["model"]["digest"],
        "policy": body["policy"]["id"] if "policy" in body else None,
        "predicted": body["prediction"]["predicted"],
        "flag": verdict.get("flag"),
        "reason": verdict.get("reason"),
        "usable_for_notice": verdict.get("usable_for_notice"),
        "mismatch": body["request"]["reported"]["mismatch"],
        "tenant": body["governance"].get("tenant"),
    }
