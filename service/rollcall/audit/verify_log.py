"""Verifies a log's database: every column of every row. Standard library and cryptography only.

Everything hangs on the entries: their hashes make the tree, the tree's roots are signed, and the entries name the
digests of the envelopes, which name the digests of keys and payloads. What is repeated for the sake of searching is
held against the envelopes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rollcall.audit.merkle import Frontier, leaf_hash
from rollcall.audit.notes import NoteError, Verifier, open_checkpoint
from rollcall.audit.verify_events import Erased, Events
from rollcall.audit.verify_records import Records
from rollcall.audit.verify_tiles import Tiles
from rollcall.audit.verifying import EVENTS, GENESIS, RECORDS, Ask, Report, Unverifiable, blob, parse_object

DATABASE = "log.db"


def verify_log(path: Path, key: Verifier | None, kept: Sequence[str] = ()) -> Report:
    """Verify the SQLite database at `path`; `kept` are notes of checkpoints from elsewhere. Raises Unverifiable."""
    if not path.is_file():
        message = f"there is no log at {path}"
        raise Unverifiable(message)
    report = Report(subject=f"log {path}")
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        database.execute("BEGIN")  # one state of the log, whatever is appended meanwhile

        def ask(query: str, *values: object) -> Iterable[Mapping[str, Any]]:
            cursor: Any = database.execute(query, values)  # whose rows answer to names
            rows: Iterable[Mapping[str, Any]] = cursor
            return rows

        try:
            verify_tables(ask, key, kept, report)
        except sqlite3.DatabaseError as error:
            message = f"{path} cannot be read as a log: {error}"
            raise Unverifiable(message) from error
    return report


def verify_tables(ask: Ask, key: Verifier | None, kept: Sequence[str], report: Report) -> None:
    """Verify a database, asked in one transaction. Raises Unverifiable."""
    # 1 whose log is it, and how long?
    log = list(ask("SELECT * FROM log"))
    if [row["id"] for row in log] != [1]:
        message = "the table log does not have its one row"
        raise Unverifiable(message)
    origin, size = log[0]["origin"], log[0]["size"]
    key = key or _own_key(ask, report)
    if key is not None and origin != key.name:
        report.wrong("log", f"is of {origin!r}, and the key of {key.name!r}")
    # 2 checkpoints: signed by the key, under this origin
    signed = list(_checkpoints(ask, key, kept, report))
    # 3 entries in order: the tree over them, at each size that was signed, and what they speak of
    roots = _entries(ask, {size for _, size, _ in signed}, report)
    if report.entries != size:
        report.wrong("log", f"says that it has {size} entries, and has {report.entries}")
    # 4 what was signed is what is there
    for place, at, root in signed:
        if at > report.entries:
            report.wrong(place, f"{at} entries were signed, and there are {report.entries}: an old copy of the log?")
        elif roots.get(at) != root:
            report.wrong(place, f"the first {at} entries are not those that were signed")
    _say(report, signed)


def _entries(ask: Ask, wanted: set[int], report: Report) -> dict[int, bytes]:
    """Check every entry, and the tiles over them; return the roots at the sizes that are wanted."""
    erased = Erased.read(ask)
    records = Records(ask=ask, report=report, erased=erased)
    events = Events(ask=ask, report=report, erased=erased)
    frontier, tiles = Frontier(), Tiles(ask, report)
    roots = {}
    for row in ask("SELECT * FROM leaf ORDER BY leaf_index"):
        _check_leaf(row, frontier.size, records, events, report)
        hashed = leaf_hash(blob(row["entry"]))
        frontier.append(hashed)
        tiles.take(hashed)
        if frontier.size in wanted:
            roots[frontier.size] = frontier.root()
    tiles.finish()
    records.finish()
    events.finish()
    report.entries = frontier.size
    return roots


def _check_leaf(row: Mapping[str, Any], index: int, records: Records, events: Events, report: Report) -> None:
    """Check one entry and everything that it speaks of."""
    entry = parse_object(blob(row["entry"]))
    place = str(row["record_id"] or f"entry {row['leaf_index']}")
    if row["leaf_index"] != index:
        report.wrong(place, f"has index {row['leaf_index']} where {index} is due")
    if entry is None:
        report.wrong(place, "the entry is no JSON object")
        return
    if leaf_hash(blob(row["entry"])) != row["leaf_hash"]:
        report.wrong(place, "the entry's hash is not the one beside it")
    if (row["type"], row["record_id"]) != (entry.get("type"), entry.get("record_id")):
        report.wrong(place, "type or record beside the entry are not the entry's")
    if entry.get("type") in RECORDS:
        records.check(str(entry.get("record_id")), entry)
    elif entry.get("type") in EVENTS:
        events.check(index, entry)
    elif entry.get("type") != GENESIS or index != 0:
        report.wrong(place, f"an entry of the unknown type {entry.get('type')!r}")


def _checkpoints(
    ask: Ask, key: Verifier | None, kept: Sequence[str], report: Report
) -> Iterator[tuple[str, int, bytes]]:
    """Place, size and root of each checkpoint that the key has signed."""
    notes = [
        (f"checkpoint {row['size']}", row["size"], row["note"]) for row in ask("SELECT * FROM checkpoint ORDER BY size")
    ]
    notes += [(f"kept checkpoint {number}", None, note) for number, note in enumerate(kept, start=1)]
    for place, size, note in notes if key is not None else ():
        try:
            found = open_checkpoint(str(note), [key] if key else [])
        except NoteError as error:
            report.wrong(place, str(error))
            continue
        if size is not None and size != found.size:
            report.wrong(place, f"its note is about {found.size} entries")
        yield place, found.size, found.root


def _own_key(ask: Ask, report: Report) -> Verifier | None:
    """Return the key that the log names itself."""
    row = next(iter(ask("SELECT entry FROM leaf WHERE leaf_index = 0")), None)
    entry = parse_object(blob(row["entry"])) if row else None
    report.note("the key is the log's own word: give --key to know whose log it is")
    try:
        return Verifier.parse(str((entry or {}).get("key")))
    except NoteError:
        report.wrong("entry 0", "names no key")
        return None


def _say(report: Report, signed: Sequence[tuple[str, int, bytes]]) -> None:
    last = max((size for _, size, _ in signed), default=0)
    report.note(f"{report.entries} entries, {len(signed)} checkpoints, the last over {last}")
    if report.entries > last:
        report.note(f"{report.entries - last} entries at the end are not signed yet")
