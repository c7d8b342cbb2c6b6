"""Verifies what a database keeps of each record against the record's envelope. Standard library only.

What is repeated for the sake of searching is the envelope's; keys and payloads have the digests that the envelope
names; rows of the index over names are those that it commits to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollcall.audit.verify_events import Erased
from rollcall.audit.verifying import Ask, Report, blob, check_entry, column_of, reference_commitment, sha256

COLUMNS = {
    "record_id": ("record_id",),
    "type": ("type",),
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
    "tenant": ("governance", "tenant"),
}
"""Columns of the table `record` and where the envelope says the same."""


@dataclass(slots=True, kw_only=True)
class Records:
    """Checks records one after the other, and in the end that nothing is there that belongs to none."""

    ask: Ask
    report: Report
    erased: Erased
    _subject_keys: set[str] = field(default_factory=set)

    def check(self, record_id: str, entry: Mapping[str, Any]) -> None:
        """Check a record and everything that belongs to it."""
        row = self._one("SELECT * FROM record WHERE record_id = ?", record_id)
        if row is None:
            self.report.wrong(record_id, "the record is gone")
            return
        body = check_entry(self.report, record_id, entry, blob(row["envelope"]))
        if body is None:
            return
        for column, path in COLUMNS.items():
            if column_of(row, column) != _at(body, path):
                self.report.wrong(record_id, f"the column {column} is not what the envelope says")
        integrity = body.get("integrity", {})
        subject_key = integrity.get("subject_key")
        self._check_subject_key(record_id, subject_key)
        if record_id in self.erased.records or str((subject_key or {}).get("id")) in self.erased.subject_keys:
            self._check_erased(record_id)
            return
        self._check_key(record_id, integrity)
        self._check_references(record_id, integrity)
        self._check_payloads(record_id, integrity)

    def finish(self) -> None:
        """Check that no row is a stray."""
        for table, parent in (
            ("record", "leaf"), ("data_key", "record"), ("payload", "record"), ("reference", "record"),
        ):  # fmt: skip
            for row in self.ask(
                f"SELECT record_id FROM {table} WHERE record_id NOT IN "  # noqa: S608 - our own names
                f"(SELECT record_id FROM {parent} WHERE record_id IS NOT NULL)"
            ):
                self.report.wrong(str(row["record_id"]), f"a row of {table} belongs to no {parent}")
        for row in self.ask("SELECT key_id FROM subject_key"):
            if row["key_id"] not in self._subject_keys:
                self.report.wrong(f"subject key {row['key_id']}", "belongs to no record")

    def _check_erased(self, record_id: str) -> None:
        for table in ("data_key", "payload", "reference"):
            if self._one(f"SELECT record_id FROM {table} WHERE record_id = ?", record_id):  # noqa: S608 - our own names
                self.report.wrong(record_id, f"an entry says that it was erased, and there is a row of {table}")

    def _check_key(self, record_id: str, integrity: Mapping[str, Any]) -> None:
        row = self._one("SELECT * FROM data_key WHERE record_id = ?", record_id)
        if row is None:
            self.report.wrong(record_id, "its key is gone, and no entry says that it was destroyed")
            return
        if sha256(blob(row["wrapped"])) != integrity.get("wrapped_key_sha256"):
            self.report.wrong(record_id, "its key is not the one that was logged")
        if row["key_id"] != integrity.get("encryption_key"):
            self.report.wrong(record_id, "its key is said to be wrapped by another one")

    def _check_subject_key(self, record_id: str, wanted: Mapping[str, Any] | None) -> None:
        if wanted is None:
            return
        key_id = str(wanted.get("id"))
        self._subject_keys.add(key_id)
        row = self._one("SELECT * FROM subject_key WHERE key_id = ?", key_id)
        if row is None:
            self.report.wrong(record_id, "its subject's key is gone")
            return
        if (row["wrapped"] is None) != (key_id in self.erased.subject_keys):
            self.report.wrong(record_id, "whether its subject's key is destroyed is not what the entries say")
        if row["wrapped"] is not None and sha256(blob(row["wrapped"])) != wanted.get("wrapped_key_sha256"):
            self.report.wrong(record_id, "its subject's key is not the one that was logged")
        if row["encryption_key"] != wanted.get("encryption_key"):
            self.report.wrong(record_id, "its subject's key is said to be wrapped by another one")

    def _check_references(self, record_id: str, integrity: Mapping[str, Any]) -> None:
        rows = self.ask("SELECT * FROM reference WHERE record_id = ?", record_id)
        found = {
            str(row["kind"]): reference_commitment(str(row["kind"]), blob(row["nonce"]), blob(row["digest"]))
            for row in rows
        }
        wanted = {str(each.get("kind")): each.get("commitment") for each in integrity.get("references", [])}
        for kind in sorted(found.keys() | wanted.keys()):
            if kind not in found:
                self.report.wrong(record_id, f"the index no longer says which {kind} it names")
            elif found[kind] != wanted.get(kind):
                self.report.wrong(record_id, f"the index says that it names another {kind}")

    def _check_payloads(self, record_id: str, integrity: Mapping[str, Any]) -> None:
        rows = self.ask("SELECT * FROM payload WHERE record_id = ?", record_id)
        found = {str(row["kind"]): sha256(blob(row["nonce"]) + blob(row["ciphertext"])) for row in rows}
        wanted = {str(part.get("kind")): part.get("sealed_sha256") for part in integrity.get("parts", [])}
        wanted["salt"] = integrity.get("salt_sha256")
        for kind in sorted(found.keys() | {kind for kind, digest in wanted.items() if digest is not None}):
            if kind not in found:
                self.report.wrong(record_id, f"its {kind} is gone, and no entry says that it was erased")
            elif found[kind] != wanted.get(kind):
                self.report.wrong(record_id, f"its {kind} is not the one that was logged")

    def _one(self, query: str, value: str) -> Mapping[str, Any] | None:
        return next(iter(self.ask(query, value)), None)


def _at(body: Mapping[str, Any], path: Sequence[str]) -> object:
    found: Any = body
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found
