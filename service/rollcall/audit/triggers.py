"""Which records are reviewed without anybody asking: rules over envelopes, and shares drawn at random.

A share is drawn by an HMAC of the record's id under a key of the operator's: nobody else can tell beforehand which
records it takes, and the same record is always drawn alike.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rollcall.audit.canonical import ID_RANDOM_BYTES, new_id, timestamp
from rollcall.audit.events import SERVER, Event, EventKind

UNFAITHFUL, MISMATCH, LOW_MARGIN, SAMPLE = "unfaithful", "mismatch", "low_margin", "sample"
_SPAN = 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRules:
    """What opens reviews.

    `margin`: log-odds of the decision that are closer to 0 than this. `share`: of all records, whatever their flag.
    `second_share`: of all reviews, which get a second opinion of somebody who does not know the first.
    """

    unfaithful: bool = False
    mismatch: bool = False
    margin: float | None = None
    share: float = 0.0
    second_share: float = 0.0
    key: bytes = field(default=b"", repr=False)

    def opened_by(self, body: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the rules that open a review of the record with this envelope."""
        flag = (body["verdict"] or {}).get("flag")
        margin = abs(float(body["prediction"]["margin"]))
        held = {
            UNFAITHFUL: self.unfaithful and flag == "unfaithful",
            MISMATCH: self.mismatch and body["request"]["reported"]["mismatch"],
            LOW_MARGIN: self.margin is not None and margin < self.margin,
            SAMPLE: self._drawn("sample", body["record_id"], self.share),
        }
        return tuple(name for name, holds in held.items() if holds)

    def second(self, record_id: str) -> bool:
        """Whether the review of a record gets a second opinion."""
        return self._drawn("second", record_id, self.second_share)

    def _drawn(self, purpose: str, record_id: str, share: float) -> bool:
        digest = hmac.digest(self.key, f"rollcall-draw-1 {purpose} {record_id}".encode(), "sha256")
        return int.from_bytes(digest[:8], "big") < share * _SPAN


def opening(body: Mapping[str, Any], rules: ReviewRules, now: float) -> Event | None:
    """Give the event by which the rules open a review of the record with this envelope; None where they do not."""
    names = rules.opened_by(body)
    if not names:
        return None
    record_id = body["record_id"]
    details = {"action": "open", "assignee": None, "disposition": None, "case_number": None}
    return Event(
        event_id=new_id(now, secrets.token_bytes(ID_RANDOM_BYTES)),
        kind=EventKind.REVIEW,
        created_at=timestamp(now),
        actor=SERVER,
        record_id=record_id,
        code="open",
        details=details | {"rules": list(names), "second": rules.second(record_id)},
    )
