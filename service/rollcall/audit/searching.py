"""Finds records: a filter as SQL, newest first, page by page over one state of the log.

The first page fixes the size of the log; later pages see no record that came after, so that two people who begin at one
size get the same list. A page's token is signed: it holds the filter's digest, the size and where the page ended.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, exists, false, func, not_, or_, select, true

from rollcall.audit import queries
from rollcall.audit.archive import Archive
from rollcall.audit.canonical import sha256
from rollcall.audit.events import EventKind
from rollcall.audit.filtering import Comparison, Every, Filter, Not, Some, parse_filter
from rollcall.audit.references import ReferenceKind, index_digest
from rollcall.audit.schema import DATA_KEY, EVENT, LEAF, RECORD, REFERENCE
from rollcall.audit.sealing import index_key
from rollcall.domain.errors import InvalidInput, RecordNotFound

MAX_PAGE = 1_000
DEFAULT_PAGE = 50
_TOKEN = b"rollcall-page-1"
_COLUMNS: dict[str, Any] = {
    "record": RECORD.c.record_id,
    "explanation": RECORD.c.explanation_id,
    "type": LEAF.c.type,
    "time": RECORD.c.created_at,
    "tenant": RECORD.c.tenant,
    "model": RECORD.c.model,
    "digest": RECORD.c.model_digest,
    "policy": RECORD.c.policy,
    "predicted": RECORD.c.predicted,
    "flag": RECORD.c.flag,
    "reason": RECORD.c.reason,
    "mode": RECORD.c.mode,
    "notice": RECORD.c.usable_for_notice,
    "mismatch": RECORD.c.mismatch,
}
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "=": lambda column, value: column == value,
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
}


def held() -> ColumnElement[bool]:
    """Whether a matter holds the record: it was placed more often than it was released."""
    return exists(_holding().where(EVENT.c.record_id == RECORD.c.record_id).correlate(RECORD))


def among_held() -> ColumnElement[bool]:
    """Tell the same for a search of many records: a list of few, and not a question for each record of the log."""
    return RECORD.c.record_id.in_(_holding().where(EVENT.c.record_id.is_not(None)))


def _holding() -> Select[tuple[str | None]]:
    """Ids of records, once for each matter that holds them."""
    placed = case((EVENT.c.type == EventKind.HOLD.value, 1), else_=-1)
    return (
        select(EVENT.c.record_id)
        .where(EVENT.c.type.in_((EventKind.HOLD.value, EventKind.RELEASE.value)))
        .group_by(EVENT.c.record_id, EVENT.c.about)
        .having(func.sum(placed) > 0)
    )


def review_state() -> Any:  # noqa: ANN401 - a scalar subquery
    """State of the record's review, as its last event left it; NULL where nobody has looked into it."""
    return (
        select(EVENT.c.code)
        .where(EVENT.c.record_id == RECORD.c.record_id, EVENT.c.type == EventKind.REVIEW.value)
        .order_by(EVENT.c.leaf_index.desc())
        .limit(1)
        .correlate(RECORD)
        .scalar_subquery()
    )


def reviewed() -> ColumnElement[bool]:
    """Whether anybody has looked into the record: a list, so that others are not asked how far their review is."""
    return RECORD.c.record_id.in_(
        select(EVENT.c.record_id).where(EVENT.c.type == EventKind.REVIEW.value, EVENT.c.record_id.is_not(None))
    )


def erased() -> ColumnElement[bool]:
    """Whether the record's key is gone."""
    return not_(exists(select(DATA_KEY.c.record_id).where(DATA_KEY.c.record_id == RECORD.c.record_id)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A record as a list shows it: columns of its envelope, where it is in the log, and what became of it."""

    leaf_index: int
    columns: dict[str, Any] = field(repr=False)
    erased: bool
    held: bool
    review: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some records of a log of `size` entries, and the token of the next page, "" for the last."""

    records: tuple[Summary, ...]
    next_token: str
    size: int


def search(archive: Archive, text: str, page_size: int, token: str) -> Page:
    """Give a page of the records that a filter asks for. Raises InvalidInput, LogUnavailable."""
    wanted = parse_filter(text)
    with archive.reading() as connection:
        size, last = _opened(archive, text, token) if token else (queries.size(connection), None)
        end = size if last is None else last
        rows = connection.execute(
            _summaries()
            .where(LEAF.c.leaf_index < end, archive.seen(), _asked(archive, connection, wanted))
            .order_by(LEAF.c.leaf_index.desc())
            .limit(page_size + 1)
        ).all()
    found = tuple(_summary(row) for row in rows[:page_size])
    more = len(rows) > page_size
    following = _sealed(archive, text, size, found[-1].leaf_index) if more else ""
    return Page(records=found, next_token=following, size=size)


def matching(archive: Archive, connection: Connection, text: str, most: int) -> list[str]:
    """Ids of the records that a filter asks for, in the order of the log.

    Raises InvalidInput where they are more than `most`, RecordNotFound where there is none.
    """
    wanted = _asked(archive, connection, parse_filter(text))
    rows = connection.execute(
        select(RECORD.c.record_id)
        .join(LEAF, LEAF.c.record_id == RECORD.c.record_id)
        .where(archive.seen(), wanted)
        .order_by(LEAF.c.leaf_index)
        .limit(most + 1)
    ).all()
    if len(rows) > most:
        raise InvalidInput.of("filter", f"must ask for at most {most} records at once")
    if not rows:
        message = "the filter asks for no record"
        raise RecordNotFound(message)
    return [str(record_id) for (record_id,) in rows]


def summary(archive: Archive, record_id: str) -> Summary:
    """Give the summary of one record that is there."""
    with archive.reading() as connection:
        return _summary(connection.execute(_summaries().where(RECORD.c.record_id == record_id)).one())


Digest: TypeAlias = Callable[[ReferenceKind, str], Sequence[bytes]]
"""What the index may hold of a name: a digest for each tenant."""


def _asked(archive: Archive, connection: Connection, wanted: Filter) -> ColumnElement[bool]:
    """Write a filter as SQL; tenants are only looked up for names."""
    key = index_key(archive.operator)
    return condition(
        wanted, lambda kind, name: [index_digest(key, kind, name, tenant) for tenant in archive.tenants(connection)]
    )


def condition(wanted: Filter, digests: Digest) -> ColumnElement[bool]:
    """Write a filter as SQL that is true or false, never unknown."""
    match wanted:
        case Every(parts=parts):
            return and_(true(), *(condition(part, digests) for part in parts))
        case Some(parts=parts):
            return or_(false(), *(condition(part, digests) for part in parts))
        case Not(part=part):
            return not_(condition(part, digests))
        case Comparison():
            return _compared(wanted, digests)


def _compared(wanted: Comparison, digests: Digest) -> ColumnElement[bool]:
    if wanted.operator == "!=":
        return not_(_compared(Comparison(name=wanted.name, operator="=", value=wanted.value), digests))
    computed = {"erased": erased, "held": among_held}.get(wanted.name)
    if computed is not None:
        return computed() if wanted.value else not_(computed())
    if wanted.name in {kind.value for kind in ReferenceKind}:
        kind = ReferenceKind(wanted.name)
        # A list of few, found by its index, and not a question for each record of the log.
        return RECORD.c.record_id.in_(
            select(REFERENCE.c.record_id).where(
                REFERENCE.c.kind == kind.value,
                REFERENCE.c.digest.in_(digests(kind, str(wanted.value))),
            )
        )
    column = review_state() if wanted.name == "review" else _COLUMNS[wanted.name]
    return and_(column.is_not(None), _OPERATORS[wanted.operator](column, wanted.value))


def _summaries() -> Any:  # noqa: ANN401 - a select of these columns
    return select(
        LEAF.c.leaf_index,
        *(column for column in RECORD.c if column is not RECORD.c.envelope),
        erased().label("erased"),
        held().label("held"),
        review_state().label("review"),
    ).join(LEAF, LEAF.c.record_id == RECORD.c.record_id)


def _summary(row: Row[Any]) -> Summary:
    columns = dict(row._mapping)  # noqa: SLF001 - its public name
    return Summary(
        leaf_index=columns.pop("leaf_index"),
        erased=bool(columns.pop("erased")),
        held=bool(columns.pop("held")),
        review=columns.pop("review"),
        columns=columns,
    )


def _sealed(archive: Archive, text: str, size: int, last: int) -> str:
    data = json.dumps([sha256(text.encode()), size, last]).encode()
    return base64.urlsafe_b64encode(_tag(archive, data) + data).decode()


def _opened(archive: Archive, text: str, token: str) -> tuple[int, int]:
    """Size of the log and the index where the page before ended; raises InvalidInput."""
    try:
        whole = base64.urlsafe_b64decode(token.encode())
        tag, data = whole[:32], whole[32:]
        if not hmac.compare_digest(tag, _tag(archive, data)):
            raise InvalidInput.of("page_token", "is none that this server gave")
        digest, size, last = json.loads(data)
    except (ValueError, binascii.Error) as error:
        raise InvalidInput.of("page_token", "is none that this server gave") from error
    if digest != sha256(text.encode()):
        raise InvalidInput.of("page_token", "belongs to another filter")
    return int(size), int(last)


def _tag(archive: Archive, data: bytes) -> bytes:
    return hmac.digest(index_key(archive.operator), _TOKEN + data, "sha256")
