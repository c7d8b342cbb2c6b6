"""Reads a record: its envelope and entry, what was done with it, and, for a reason that is logged, its sealed parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, func, select

from rollcall.audit import queries
from rollcall.audit.archive import Archive
from rollcall.audit.events import EventKind
from rollcall.audit.masking import Masked, Redaction, masked
from rollcall.audit.merkle import consistency_proof
from rollcall.audit.parts import SALT
from rollcall.audit.queries import Kept, Signed
from rollcall.audit.schema import EVENT, LEAF
from rollcall.audit.sealing import SealError, unseal
from rollcall.audit.searching import Summary, summary
from rollcall.domain.errors import Blocked, InvalidInput, RecordNotFound

MAX_EVENTS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """An event as it is in the log: its index, and its body, canonical JSON."""

    leaf_index: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A record that was read. `access` is the index of the event that tells so, where sealed parts were opened."""

    kept: Kept
    summary: Summary
    events: tuple[Happened, ...]
    parts: dict[str, bytes] = field(repr=False)
    redactions: tuple[Redaction, ...]
    access: int | None


def read_record(
    archive: Archive, name: str, wanted: Sequence[str], reason: str, actor: str, *, hide: bool = False
) -> Read:
    """Read a record by its id or its explanation's. Parts that are `wanted` need a reason, and their reading is logged.

    `hide`: their texts are masked. Raises RecordNotFound, InvalidInput, Blocked where the record is erased, has no such
    part, or one cannot be shown like this, LogUnavailable.
    """
    if wanted and not reason:
        raise InvalidInput.of("reason", "required to read sealed parts: it is logged with who read them")
    with archive.reading() as connection:
        record_id = archive.find(connection, name)
    if wanted and not hide and not archive.unmasked:
        raise Blocked("masked", "here sealed parts are shown masked only: ask for them masked")
    opened = Masked(parts={}, redactions=())
    access = None
    if wanted:
        with archive.acting() as acting:
            found = open_parts(archive, acting.connection, record_id, wanted)
            opened = masked(found, archive.recognisers) if hide else Masked(parts=found, redactions=())
            access = acting.log(
                archive.event(
                    acting.connection,
                    EventKind.ACCESS,
                    actor,
                    record_id=record_id,
                    code="masked" if hide else "",
                    details={"parts": sorted(found)},
                    note=reason,
                )
            )
    with archive.reading() as connection:
        kept = queries.kept(connection, record_id)
        events = happened(connection, record_id=record_id)
    return Read(
        kept=kept,
        summary=summary(archive, record_id),
        events=events,
        parts=opened.parts,
        redactions=opened.redactions,
        access=access,
    )


def open_parts(archive: Archive, connection: Connection, record_id: str, wanted: Sequence[str]) -> dict[str, bytes]:
    """Decrypt parts of a record. Raises Blocked where they are not there. Whoever calls logs it."""
    kept = queries.kept(connection, record_id)
    if kept.wrapped_key is None:
        message = "the record is erased: its key was destroyed"
        raise Blocked("erased", message)
    sealed = {each.kind: each for each in kept.payloads}
    missing = sorted(set(wanted) - sealed.keys())
    if missing:
        kinds = ", ".join(sorted(sealed.keys() - {SALT}))
        raise Blocked("parts", f"the record does not hold {', '.join(missing)[:100]}; it holds {kinds or 'nothing'}")
    try:
        data_key = archive.key_of(connection, record_id).unwrap(kept.wrapped_key)
        return {kind: unseal(data_key, record_id, sealed[kind]) for kind in wanted}
    except SealError as error:
        message = "the record was sealed under another encryption key than this server has"
        raise Blocked("encryption_key", message) from error


def happened(
    connection: Connection,
    *,
    told: ColumnElement[bool] | None = None,
    record_id: str | None = None,
    kind: EventKind | None = None,
    before: int | None = None,
    most: int = MAX_EVENTS,
) -> tuple[Happened, ...]:
    """Give events, newest first: those that are `told`, of a record, of a kind, before an index."""
    rows = select(EVENT.c.leaf_index, EVENT.c.body).order_by(EVENT.c.leaf_index.desc()).limit(most)
    if record_id is not None:
        rows = rows.where(EVENT.c.record_id == record_id)
    if told is not None:
        rows = rows.where(told)
    if kind is not None:
        rows = rows.where(EVENT.c.type == kind.value)
    if before is not None:
        rows = rows.where(EVENT.c.leaf_index < before)
    return tuple(Happened(leaf_index=int(row.leaf_index), body=bytes(row.body)) for row in connection.execute(rows))


def prove(archive: Archive, index: int) -> tuple[bytes, str]:
    """Give an entry and its C2SP tlog-proof under the last checkpoint. Raises RecordNotFound, Blocked."""
    with archive.reading() as connection:
        signed = queries.last_checkpoint(connection)
        if signed is None or index >= signed.size:
            message = "the entry is not under a checkpoint yet; try again in a few seconds"
            raise Blocked("checkpoint", message)
        if archive.sees is not None and not _told(archive, connection, index):
            raise RecordNotFound
        return queries.entry(connection, index), queries.proof(connection, index, signed).text()


def _told(archive: Archive, connection: Connection, index: int) -> bool:
    """Whether an entry is about a record that is here for whoever asks."""
    found = select(LEAF.c.leaf_index).outerjoin(EVENT, EVENT.c.leaf_index == LEAF.c.leaf_index)
    record_id = func.coalesce(LEAF.c.record_id, EVENT.c.record_id)
    return connection.execute(found.where(LEAF.c.leaf_index == index, archive.told(record_id))).first() is not None


def index_of(archive: Archive, name: str) -> int:
    """Index of a record's entry; raises RecordNotFound."""
    with archive.reading() as connection:
        return queries.kept(connection, archive.find(connection, name)).leaf_index


def checkpoint(archive: Archive, old_size: int | None) -> tuple[Signed, list[bytes]]:
    """Give the last checkpoint, and the proof that a log of `old_size` entries is its beginning.

    Raises InvalidInput, Blocked where nothing is signed yet, LogUnavailable.
    """
    with archive.reading() as connection:
        signed = queries.last_checkpoint(connection)
        if signed is None:
            message = "the log has no checkpoint yet"
            raise Blocked("checkpoint", message)
        if old_size is None:
            return signed, []
        if not 0 < old_size <= signed.size:
            raise InvalidInput.of("old_size", f"must lie between 1 and {signed.size}")
        return signed, consistency_proof(queries.node(connection), old_size, signed.size)
