"""Verifies what a database keeps of events against the entries of the log. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rollcall.audit.verifying import ERASURE, Ask, Report, blob, column_of, parse_object, sha256

COLUMNS = ("event_id", "type", "created_at", "actor", "record_id", "about", "code", "idempotency")
"""Columns of the table `event`, which its body says, too."""


@dataclass(slots=True, kw_only=True)
class Erased:
    """What the log says was destroyed: payloads and keys of records, at which index, and keys of subjects."""

    records: dict[str, int] = field(default_factory=dict)
    subject_keys: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, ask: Ask) -> Erased:
        """Read it from the events, which are verified by themselves."""
        erased = cls()
        for row in ask("SELECT leaf_index, record_id, body FROM event WHERE type = ?", ERASURE):
            details = (parse_object(blob(row["body"])) or {}).get("details", {})
            erased.subject_keys |= set(details.get("subject_keys", []))
            if row["record_id"] is not None:
                erased.records[str(row["record_id"])] = row["leaf_index"]
        return erased


@dataclass(slots=True, kw_only=True)
class Events:
    """Checks events one after the other, and in the end that nothing is there that belongs to none."""

    ask: Ask
    report: Report
    erased: Erased

    def check(self, index: int, entry: Mapping[str, Any]) -> None:
        """Check the event of an entry, and its note."""
        place = str(entry.get("event_id"))
        row = next(iter(self.ask("SELECT * FROM event WHERE leaf_index = ?", index)), None)
        if row is None:
            self.report.wrong(place, "the event is gone")
            return
        if entry.get("event_sha256") != sha256(blob(row["body"])):
            self.report.wrong(place, "the event is not the one that was logged")
        body = parse_object(blob(row["body"]))
        if body is None:
            self.report.wrong(place, "the event is no JSON object")
            return
        if (entry.get("event_id"), entry.get("created_at")) != (body.get("event_id"), body.get("created_at")):
            self.report.wrong(place, "event and entry have another id or time")
        for column in COLUMNS:
            if column_of(row, column) != body.get(column):
                self.report.wrong(place, f"the column {column} is not what the event says")
        self._check_note(place, index, body)

    def finish(self) -> None:
        """Check that no row is a stray."""
        for row in self.ask(
            "SELECT event_id FROM event WHERE leaf_index NOT IN (SELECT leaf_index FROM leaf WHERE record_id IS NULL)"
        ):
            self.report.wrong(str(row["event_id"]), "an event that no entry speaks of")
        for row in self.ask("SELECT event_id FROM note WHERE event_id NOT IN (SELECT event_id FROM event)"):
            self.report.wrong(str(row["event_id"]), "a note of no event")

    def _check_note(self, place: str, index: int, body: Mapping[str, Any]) -> None:
        """Notes of an erased record are gone, but for those of what was done with it afterwards."""
        erased = index < self.erased.records.get(str(body.get("record_id")), 0)
        wanted = body.get("note")
        row = next(iter(self.ask("SELECT * FROM note WHERE event_id = ?", body.get("event_id"))), None)
        if wanted is None or row is None:
            if row is not None:
                self.report.wrong(place, "has a note that was not logged")
            elif wanted is not None and not erased:
                self.report.wrong(place, "its note is gone, and no entry says that it was erased")
            return
        if erased:
            self.report.wrong(place, "its note is there, and an entry says that it was erased")
        if sha256(blob(row["wrapped"])) != wanted.get("wrapped_key_sha256"):
            self.report.wrong(place, "its note's key is not the one that was logged")
        if row["key_id"] != wanted.get("encryption_key"):
            self.report.wrong(place, "its note's key is said to be wrapped by another one")
        if sha256(blob(row["nonce"]) + blob(row["ciphertext"])) != wanted.get("sealed_sha256"):
            self.report.wrong(place, "its note is not the one that was logged")
