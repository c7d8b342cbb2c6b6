"""What is asked of the log's database, on a connection inside a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from rollcall.audit import tiles
from rollcall.audit.canonical import sha256
from rollcall.audit.merkle import Node, inclusion_proof
from rollcall.audit.notes import Proof
from rollcall.audit.references import ReferenceKind
from rollcall.audit.schema import CHECKPOINT, DATA_KEY, LEAF, LOG, PAYLOAD, RECORD, REFERENCE, SUBJECT_KEY, TILE
from rollcall.audit.sealing import Sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A record as it is in the log. `wrapped_key` is None once it was destroyed."""

    record_id: str
    leaf_index: int
    entry: bytes
    envelope: bytes = field(repr=False)
    wrapped_key: bytes | None = field(repr=False)
    payloads: tuple[Sealed, ...] = field(repr=False)

    @property
    def envelope_sha256(self) -> str:
        """What the entry names: 64 hexadecimal digits."""
        return sha256(self.envelope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A checkpoint: the size that it is about, and its note."""

    size: int
    note: str


def size(connection: Connection) -> int:
    """Entries in the log."""
    return int(connection.execute(select(LOG.c.size)).scalar_one())


def origin(connection: Connection) -> str:
    """Name of the log."""
    return str(connection.execute(select(LOG.c.origin)).scalar_one())


def tile(connection: Connection, at: tiles.Coordinates) -> bytes:
    """Hashes of a tile so far."""
    level, index = at
    found = connection.execute(select(TILE.c.hashes).where(TILE.c.level == level, TILE.c.tile_index == index)).scalar()
    return bytes(found or b"")


def node(connection: Connection) -> Node:
    """Give the nodes of the log's tree."""
    return tiles.nodes_from(lambda at: tile(connection, at))


def entry(connection: Connection, index: int) -> bytes:
    """Entry number `index`."""
    return bytes(connection.execute(select(LEAF.c.entry).where(LEAF.c.leaf_index == index)).scalar_one())


def last_checkpoint(connection: Connection) -> Signed | None:
    """Return the checkpoint of the largest size."""
    found = connection.execute(
        select(CHECKPOINT.c.size, CHECKPOINT.c.note).order_by(CHECKPOINT.c.size.desc()).limit(1)
    ).first()
    return None if found is None else Signed(size=int(found.size), note=str(found.note))


def proof(connection: Connection, index: int, signed: Signed) -> Proof:
    """Prove entry `index` under a checkpoint; IndexError where it came later."""
    path = inclusion_proof(node(connection), index, signed.size)
    return Proof(index=index, path=tuple(path), note=signed.note)


def find(connection: Connection, name: str) -> str | None:
    """Id of the record that has this id, or is about the explanation with this id."""
    found = connection.execute(
        select(RECORD.c.record_id).where((RECORD.c.record_id == name) | (RECORD.c.explanation_id == name))
    ).scalar()
    return None if found is None else str(found)


def subject_key(connection: Connection, digest: bytes) -> bytes | None:
    """Wrapped key of the newest record about the subject with an index digest; None where there is none."""
    found = connection.execute(
        select(SUBJECT_KEY.c.wrapped)
        .join(DATA_KEY, DATA_KEY.c.key_id == SUBJECT_KEY.c.key_id)
        .join(REFERENCE, REFERENCE.c.record_id == DATA_KEY.c.record_id)
        .where(
            REFERENCE.c.digest == digest,
            REFERENCE.c.kind == ReferenceKind.SUBJECT.value,
            SUBJECT_KEY.c.wrapped.is_not(None),
        )
        .order_by(REFERENCE.c.record_id.desc())
        .limit(1)
    ).scalar()
    return None if found is None else bytes(found)


def named(connection: Connection, kind: ReferenceKind, digest: bytes) -> list[str]:
    """Ids of the records that name something with an index digest, oldest first."""
    found = connection.execute(
        select(REFERENCE.c.record_id)
        .where(REFERENCE.c.digest == digest, REFERENCE.c.kind == kind.value)
        .order_by(REFERENCE.c.record_id)
    )
    return [str(record_id) for (record_id,) in found]


def record_ids(connection: Connection) -> Iterator[str]:
    """Ids of all records, in the order of the log."""
    for (record_id,) in connection.execute(
        select(LEAF.c.record_id).where(LEAF.c.record_id.is_not(None)).order_by(LEAF.c.leaf_index)
    ):
        yield str(record_id)


def kept(connection: Connection, record_id: str) -> Kept:
    """One record with everything that belongs to it."""
    row = connection.execute(
        select(LEAF.c.leaf_index, LEAF.c.entry, RECORD.c.envelope, DATA_KEY.c.wrapped)
        .join(RECORD, RECORD.c.record_id == LEAF.c.record_id)
        .outerjoin(DATA_KEY, DATA_KEY.c.record_id == RECORD.c.record_id)
        .where(RECORD.c.record_id == record_id)
    ).one()
    payloads = connection.execute(
        select(PAYLOAD.c.kind, PAYLOAD.c.nonce, PAYLOAD.c.ciphertext).where(PAYLOAD.c.record_id == record_id)
    )
    return Kept(
        record_id=record_id,
        leaf_index=int(row.leaf_index),
        entry=bytes(row.entry),
        envelope=bytes(row.envelope),
        wrapped_key=None if row.wrapped is None else bytes(row.wrapped),
        payloads=tuple(
            Sealed(kind=str(kind), nonce=bytes(nonce), ciphertext=bytes(ciphertext))
            for kind, nonce, ciphertext in payloads
        ),
    )
