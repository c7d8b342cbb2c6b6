"""Verifies a log's SQLite database: every column of every row. Standard library and cryptography only.

Everything hangs on the entries: their hashes make the tree, the tree's roots are signed, and the entries name the
digests of the envelopes, which name the digests of keys and payloads. What is repeated for the sake of searching is
held against the envelopes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rollcall.audit.merkle import HASH_BYTES, Frontier, leaf_hash, node_hash
from rollcall.audit.notes import NoteError, Verifier, open_checkpoint
from rollcall.audit.verifying import EXPLANATION, GENESIS, Report, Unverifiable, check_entry, parse_object, sha256

DATABASE = "log.db"
TILE_WIDTH = 256
COLUMNS = {
    "record_id": ("record_id",),
    "created_at": ("created_at",),
    "explanation_id": ("explanation_id",),
    "mode": ("governance", "mode"),
    "model": ("model", "name"),
    "model_digest": ("model", "digest"),
    "policy": ("policy", "id"),
    "predicted": ("prediction", "predicted"),
    "flag": ("verdict", "flag"),
    "reason": ("verdict", "reason"),
    "usable_for_notice": ("verdict", "usable_for_notice"),
    "mismatch": ("request", "reported", "mismatch"),
}
"""Columns of the table `record` and where the envelope says the same."""


def verify_log(path: Path, key: Verifier | None, kept: Sequence[str] = ()) -> Report:
    """Verify the database at `path`; `kept` are notes of checkpoints from elsewhere. Raises Unverifiable."""
    if not path.is_file():
        message = f"there is no log at {path}"
        raise Unverifiable(message)
    report = Report(subject=f"log {path}")
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        database.execute("BEGIN")  # one state of the log, whatever is appended meanwhile
        try:
            _verify(database, key, kept, report)
        except sqlite3.DatabaseError as error:
            message = f"{path} cannot be read as a log: {error}"
            raise Unverifiable(message) from error
    return report


def _verify(database: sqlite3.Connection, key: Verifier | None, kept: Sequence[str], report: Report) -> None:
    # 1 whose log is it, and how long?
    log = database.execute("SELECT * FROM log").fetchall()
    if [row["id"] for row in log] != [1]:
        message = "the table log does not have its one row"
        raise Unverifiable(message)
    origin, size = log[0]["origin"], log[0]["size"]
    key = key or _own_key(database, report)
    if key is not None and origin != key.name:
        report.wrong("log", f"is of {origin!r}, and the key of {key.name!r}")
    # 2 checkpoints: signed by the key, under this origin
    signed = list(_checkpoints(database, key, kept, report))
    # 3 entries in order: the tree over them, at each size that was signed
    roots = _entries(database, {size for _, size, _ in signed}, report)
    if report.entries != size:
        report.wrong("log", f"says that it has {size} entries, and has {report.entries}")
    # 4 what was signed is what is there
    for place, at, root in signed:
        if at > report.entries:
            report.wrong(place, f"{at} entries were signed, and there are {report.entries}: an old copy of the log?")
        elif roots.get(at) != root:
            report.wrong(place, f"the first {at} entries are not those that were signed")
    # 5 nothing is there that no entry speaks of
    _strays(database, report)
    _say(report, signed)


def _entries(database: sqlite3.Connection, wanted: set[int], report: Report) -> dict[int, bytes]:
    """Check every entry, and the tiles over them; return the roots at the sizes that are wanted."""
    frontier = Frontier()
    tiles = _Tiles(database, report)
    roots = {}
    for row in database.execute("SELECT * FROM leaf ORDER BY leaf_index"):
        _check_leaf(database, row, frontier.size, report)
        hashed = leaf_hash(_blob(row["entry"]))
        frontier.append(hashed)
        tiles.take(hashed)
        if frontier.size in wanted:
            roots[frontier.size] = frontier.root()
    tiles.finish()
    report.entries = frontier.size
    return roots


def _strays(database: sqlite3.Connection, report: Report) -> None:
    for table, parent in (("record", "leaf"), ("data_key", "record"), ("payload", "record")):
        for row in database.execute(
            f"SELECT record_id FROM {table} WHERE record_id NOT IN "  # noqa: S608 - our own names
            f"(SELECT record_id FROM {parent} WHERE record_id IS NOT NULL)"
        ):
            report.wrong(str(row[0]), f"a row of {table} belongs to no {parent}")


def _say(report: Report, signed: Sequence[tuple[str, int, bytes]]) -> None:
    last = max((size for _, size, _ in signed), default=0)
    report.note(f"{report.entries} entries, {len(signed)} checkpoints, the last over {last}")
    if report.entries > last:
        report.note(f"{report.entries - last} entries at the end are not signed yet")


def _own_key(database: sqlite3.Connection, report: Report) -> Verifier | None:
    """Return the key that the log names itself."""
    row = database.execute("SELECT entry FROM leaf WHERE leaf_index = 0").fetchone()
    entry = parse_object(_blob(row["entry"])) if row else None
    report.note("the key is the log's own word: give --key to know whose log it is")
    try:
        return Verifier.parse(str((entry or {}).get("key")))
    except NoteError:
        report.wrong("entry 0", "names no key")
        return None


def _checkpoints(
    database: sqlite3.Connection, key: Verifier | None, kept: Sequence[str], report: Report
) -> Iterator[tuple[str, int, bytes]]:
    """Place, size and root of each checkpoint that the key has signed."""
    rows = database.execute("SELECT * FROM checkpoint ORDER BY size").fetchall()
    notes = [(f"checkpoint {row['size']}", row["size"], row["note"]) for row in rows]
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


def _check_leaf(database: sqlite3.Connection, row: sqlite3.Row, index: int, report: Report) -> None:
    """Check one entry and everything that it speaks of."""
    entry = parse_object(_blob(row["entry"]))
    place = str(row["record_id"] or f"entry {row['leaf_index']}")
    if row["leaf_index"] != index:
        report.wrong(place, f"has index {row['leaf_index']} where {index} is due")
    if entry is None:
        report.wrong(place, "the entry is no JSON object")
        return
    if leaf_hash(_blob(row["entry"])) != row["leaf_hash"]:
        report.wrong(place, "the entry's hash is not the one beside it")
    if (row["type"], row["record_id"]) != (entry.get("type"), entry.get("record_id")):
        report.wrong(place, "type or record beside the entry are not the entry's")
    if entry.get("type") == EXPLANATION:
        _check_record(database, str(entry.get("record_id")), entry, report)
    elif entry.get("type") != GENESIS or index != 0:
        report.wrong(place, f"an entry of the unknown type {entry.get('type')!r}")


def _check_record(database: sqlite3.Connection, record_id: str, entry: Mapping[str, Any], report: Report) -> None:
    row = database.execute("SELECT * FROM record WHERE record_id = ?", (record_id,)).fetchone()
    if row is None:
        report.wrong(record_id, "the record is gone")
        return
    body = check_entry(report, record_id, entry, _blob(row["envelope"]))
    if body is None:
        return
    for column, path in COLUMNS.items():
        if row[column] != _at(body, path):
            report.wrong(record_id, f"the column {column} is not what the envelope says")
    integrity = body.get("integrity", {})
    _check_key(database, record_id, integrity, report)
    _check_payloads(database, record_id, integrity, report)


def _check_key(database: sqlite3.Connection, record_id: str, integrity: Mapping[str, Any], report: Report) -> None:
    row = database.execute("SELECT * FROM data_key WHERE record_id = ?", (record_id,)).fetchone()
    if row is None:
        report.wrong(record_id, "its key is gone, and no entry says that it was destroyed")
        return
    if sha256(_blob(row["wrapped"])) != integrity.get("wrapped_key_sha256"):
        report.wrong(record_id, "its key is not the one that was logged")
    if row["key_id"] != integrity.get("encryption_key"):
        report.wrong(record_id, "its key is said to be wrapped by another one")


def _check_payloads(database: sqlite3.Connection, record_id: str, integrity: Mapping[str, Any], report: Report) -> None:
    rows = database.execute("SELECT * FROM payload WHERE record_id = ?", (record_id,))
    found = {str(row["kind"]): sha256(_blob(row["nonce"]) + _blob(row["ciphertext"])) for row in rows}
    wanted = {str(part.get("kind")): part.get("sealed_sha256") for part in integrity.get("parts", [])}
    wanted["salt"] = integrity.get("salt_sha256")
    for kind in sorted(found.keys() | {kind for kind, digest in wanted.items() if digest is not None}):
        if kind not in found:
            report.wrong(record_id, f"its {kind} is gone, and no entry says that it was erased")
        elif found[kind] != wanted.get(kind):
            report.wrong(record_id, f"its {kind} is not the one that was logged")


class _Tiles:
    """Holds the tiles of the database against the leaves, level by level, as the tree grows."""

    def __init__(self, database: sqlite3.Connection, report: Report) -> None:
        self._database = database
        self._report = report
        self._open: list[list[bytes]] = []
        self._counts: list[int] = []

    def take(self, hashed: bytes) -> None:
        """Take a leaf's hash."""
        level = 0
        while True:
            if level == len(self._open):
                self._open.append([])
                self._counts.append(0)
            self._open[level].append(hashed)
            if len(self._open[level]) < TILE_WIDTH:
                return
            full, self._open[level] = self._open[level], []
            self._check(level, full)
            hashed, level = _perfect_root(full), level + 1

    def finish(self) -> None:
        """Check the tiles at the edge, and that there are no others."""
        for level, hashes in enumerate(self._open):
            if hashes:
                self._check(level, hashes)
        (count,) = self._database.execute("SELECT COUNT(*) FROM tile").fetchone()
        if count != sum(self._counts):
            self._report.wrong("tile", f"there are {count} tiles where {sum(self._counts)} are due")

    def _check(self, level: int, hashes: Sequence[bytes]) -> None:
        index = self._counts[level]
        self._counts[level] += 1
        row = self._database.execute(
            "SELECT hashes FROM tile WHERE level = ? AND tile_index = ?", (level, index)
        ).fetchone()
        if row is None or _blob(row["hashes"]) != b"".join(hashes):
            first = index * TILE_WIDTH ** (level + 1)
            self._report.wrong(f"tile {level}/{index}", f"does not hold the tree from entry {first} on")


def _perfect_root(hashes: Sequence[bytes]) -> bytes:
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
    assert len(row[0]) == HASH_BYTES
    return row[0]


def _at(body: Mapping[str, Any], path: Sequence[str]) -> object:
    found: Any = body
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _blob(value: object) -> bytes:
    """Bytes of a column, whatever somebody has put there."""
    return value if isinstance(value, bytes) else str(value).encode()
