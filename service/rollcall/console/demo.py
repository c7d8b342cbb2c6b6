"""A server with something to look at: two people, a few records, and a review that waits for the second of them."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from rollcall.demo.server import ServerProcess, server_process
from rollcall_client import AuditClient, CheckLevel, Disposition

PEOPLE = {
    "ada": ("caller", "auditor", "reviewer", "officer"),
    "ben": ("caller", "auditor", "reviewer", "approver"),
}
"""Two, because it takes two to close a review."""
TEXTS = (
    "A wonderful, moving film with a great cast.",
    "The story is dull and the acting is terrible.",
    "The movie is not good at all.",
    "The plot is thin, but the actors are charming and I enjoyed every minute.",
    "I expected a masterpiece and got a mess: noisy, predictable, and far too long.",
    "Hardly a dull minute, and never a cheap joke.",
    "مدهش! The film is <b>great</b>, they said.",
)
LOOKED_AT_CLOSELY = 3
"""Which text gets thorough checks, and with them the most different map with the same prediction."""
SECONDS = 300.0
LOGGED_SECONDS, POLL_SECONDS = 60.0, 0.1
TOKEN_BYTES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """A running server, and by which token each of its people signs in."""

    server: ServerProcess
    tokens: Mapping[str, str] = field(repr=False)

    def ask(self, who: str) -> AuditClient:
        """Connect as somebody."""
        return AuditClient(self.server.target, token=self.tokens[who], timeout=SECONDS)


@contextmanager
def demonstration(
    directory: Path | None = None,
    people: Mapping[str, tuple[str, ...]] = PEOPLE,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Demonstration]:
    """Serve the demo model with records in `directory`, or in one that is gone afterwards; ada is one of `people`."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = directory or Path(scratch)
        tokens = {name: secrets.token_urlsafe(TOKEN_BYTES) for name in people}
        callers = folder / "callers.toml"
        callers.write_text(
            "".join(_entry(name, roles, tokens[name]) for name, roles in people.items()), encoding="utf-8"
        )
        settings = {
            "ROLLCALL_AUDIT_DIRECTORY": str(folder / "log"),
            "ROLLCALL_AUDIT_ORIGIN": "rollcall-demo",
            "ROLLCALL_AUDIT_CHECKPOINT_SECONDS": "1",
            "ROLLCALL_AUTH_CALLERS": str(callers),
            "ROLLCALL_AUDIT_REVIEW_MISMATCH": "true",
            "ROLLCALL_EXPLAIN_RECHECK_SHARE": "1",
            **(environment or {}),
        }
        with server_process("--demo", environment=settings) as server:
            made = Demonstration(server=server, tokens=tokens)
            fill(made)
            yield made


def fill(made: Demonstration) -> None:
    """Leave records of every kind, and begin reviews."""
    with made.ask("ada") as ada:
        ids = []
        for number, text in enumerate(TEXTS):
            level = CheckLevel.THOROUGH if number == LOOKED_AT_CLOSELY else CheckLevel.STANDARD
            receipt = ada.explain(text, level=level, subject_ref=f"customer {number}").audit
            ids.append(receipt.record_id if receipt else "")
        ada.explain(TEXTS[1], decision_ref="application 17", reported_label="positive")
        ada.predict(TEXTS[4], decision_ref="application 18", subject_ref="customer 4")
        _wait_for(ada, len(TEXTS) + 2)
        ada.open_review(ids[1], "The customer objects.", case_number="2026/17")
        ada.open_review(ids[2], "A random sample.")
        ada.assign_review(ids[2])
        ada.decide_review(ids[2], Disposition.UPHELD, "The negation carries the decision, and the map shows it.")
        ada.place_hold("case 2026/17", "A dispute.", record_ids=[ids[1]])
        ada.record(ids[3], parts=["input"], reason="A spot check.")


def _wait_for(client: AuditClient, records: int) -> None:
    """Wait until so many records are in the log. Raises RuntimeError."""
    until = time.monotonic() + LOGGED_SECONDS
    while len(client.search().records) < records:
        if time.monotonic() > until:
            message = "the demonstration's records do not reach the log"
            raise RuntimeError(message)
        time.sleep(POLL_SECONDS)


def _entry(name: str, roles: tuple[str, ...], token: str) -> str:
    """Write somebody's entry in the file of callers."""
    listed = ", ".join(f'"{role}"' for role in roles)
    return f'[{name}]\nroles = [{listed}]\ntoken_sha256 = "{sha256(token.encode()).hexdigest()}"\n'
