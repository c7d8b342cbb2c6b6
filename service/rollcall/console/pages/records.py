"""One record: its verdict first, then the decision, what the verdict rests on, who looked at it, and its proof."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup
from starlette.responses import PlainTextResponse, Response

from rollcall.console.pages.finding import summary_of
from rollcall.console.pages.log import summary as event_summary
from rollcall.console.pages.reviewing import DISPOSITIONS, steps_for, take
from rollcall.console.proving import Step, verify_entry, verify_record
from rollcall.console.visiting import Visit, address, no_such
from rollcall_client import FailedPrecondition, Record, RecordSummary, RecordType, Review, recorded
from rollcall_client.errors import RollcallError
from rollcall_client.html import render_article
from rollcall_client.recorded import INPUT, SCORES

OPENERS = frozenset({"auditor", "reviewer"})
"""Who may have sealed parts opened."""
READERS = OPENERS | {"approver"}
"""Who may read envelopes; everybody else here sees what lists show, reviews and proofs."""
AFTERWARDS_SECONDS = 300.0
FILES = {"envelope": "application/json", "entry": "application/json", "proof": "text/plain; charset=utf-8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What there is to show of a record; `record` and `judged` are None for who may not read it."""

    summary: RecordSummary
    record: Record | None
    judged: recorded.Judged | None
    review: Review | None
    steps: tuple[Step, ...]
    unproved: str
    article: Markup | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def kept(self) -> frozenset[str]:
        """Parts that the record still holds sealed, as far as whoever asks may know."""
        parts = self.judged.body["integrity"]["parts"] if self.judged and not self.summary.erased else []
        return frozenset(part["kind"] for part in parts if part["sealed_sha256"])

    @property
    def verified(self) -> bool:
        """Whether everything that was verified holds."""
        return bool(self.steps) and all(step.holds for step in self.steps)


def show(visit: Visit) -> Response:
    """Show a record, its sealed parts unopened."""
    return shown(visit, read(visit, visit.path("record_id")))


def shown(visit: Visit, told: Told, error: RollcallError | None = None) -> Response:
    """Show a record, or show it again with what was refused."""
    values = {
        "told": told,
        "summary": told.summary,
        "doable": steps_for(visit.caller, told.review),
        "kept": told.kept,
        "may_open": bool(OPENERS & visit.caller.roles),
        "dispositions": DISPOSITIONS,
        "event_summary": event_summary,
        **told.extra,
    }
    return visit.show("record.html", **values) if error is None else visit.refused("record.html", error, **values)


def open_parts(visit: Visit) -> Response:
    """Open what is sealed, for a reason that the log keeps, and show the answer with its words. It is kept nowhere."""
    record_id = visit.path("record_id")
    told = read(visit, record_id)
    wanted = [part for part in (SCORES, INPUT) if part in told.kept]
    try:
        opened = visit.client.record(
            record_id, parts=wanted, reason=visit.given("reason"), masked=visit.given("masked") == "yes"
        )
    except RollcallError as error:
        return shown(visit, told, error)
    article = None
    if SCORES in opened.parts and opened.summary.type is RecordType.EXPLANATION:
        article = Markup(render_article(recorded.explanation(opened), title="Opened record"))  # noqa: S704 - escaped there
    extra = {"opened": opened, "text": _text(opened)}
    return shown(visit, read(visit, record_id, article=article, extra=extra))


def review(visit: Visit) -> Response:
    """Take a step of its review, and show the record again; with what was typed where it was refused."""
    name = visit.path("record_id")
    try:
        take(visit, name, visit.path("action"))
    except RollcallError as error:
        return shown(visit, read(visit, name), error)
    return visit.go(f"{address(f'/records/{name}')}#review")


def replay(visit: Visit) -> Response:
    """Work a record out again, from the sealed input or one that was typed, and show what it comes to."""
    told = read(visit, visit.path("record_id"))
    text = visit.form.get("text", "") or None
    try:
        found = visit.client.replay(
            told.summary.record_id, visit.given("reason"), text=text, timeout=AFTERWARDS_SECONDS
        )
    except RollcallError as error:
        return shown(visit, told, error)
    return shown(visit, read(visit, told.summary.record_id, extra={"replayed": found}))


def explain(visit: Visit) -> Response:
    """Explain a decision that was not explained, and go on to the record of that."""
    told = read(visit, visit.path("record_id"))
    text = visit.form.get("text", "") or None
    try:
        found = visit.client.explain_record(
            told.summary.record_id, visit.given("reason"), text=text, timeout=AFTERWARDS_SECONDS
        )
    except RollcallError as error:
        return shown(visit, told, error)
    article = Markup(render_article(found, title="Explained afterwards"))  # noqa: S704 - escaped there
    return visit.show("explained.html", article=article, explanation=found, decision=told.summary.record_id)


def give_file(visit: Visit) -> Response:
    """Give an envelope, an entry or a proof, exactly as it was logged."""
    record_id, kind = visit.path("record_id"), visit.path("kind")
    if kind == "envelope":
        content = visit.client.record(record_id).envelope
    elif kind in FILES:
        proof = visit.client.proof(record_id)
        content = proof.entry if kind == "entry" else proof.proof
    else:
        raise no_such("file")
    ending = "tlog-proof" if kind == "proof" else "json"
    name = f"{''.join(c for c in record_id if c.isalnum() or c == '-')}.{kind}.{ending}".replace("proof.tlog", "tlog")
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return PlainTextResponse(content, media_type=FILES[kind], headers=headers)


def read(visit: Visit, record_id: str, *, article: Markup | None = None, extra: dict[str, Any] | None = None) -> Told:
    """Ask for all that there is to show of a record. Raises what the client does."""
    may_read = bool(READERS & visit.caller.roles)
    record = visit.client.record(record_id) if may_read else None
    summary = record.summary if record else summary_of(visit, record_id)
    if summary is None:
        raise no_such("record")
    steps, unproved = _proved(visit, summary, record)
    return Told(
        summary=summary,
        record=record,
        judged=recorded.judged(record) if record else None,
        review=_review(visit, summary),
        steps=steps,
        unproved=unproved,
        article=article,
        extra={"opened": None, "text": None, "replayed": None} | (extra or {}),
    )


def _review(visit: Visit, summary: RecordSummary) -> Review | None:
    return visit.client.review(summary.record_id) if summary.review else None


def _proved(visit: Visit, summary: RecordSummary, record: Record | None) -> tuple[tuple[Step, ...], str]:
    """Verify a record; or say why there is no proof yet."""
    try:
        proof = visit.client.proof(summary.record_id)
    except FailedPrecondition as error:
        return (), error.message
    key = visit.house.options.log_key
    if record is None:
        return verify_entry(proof, key), ""
    return verify_record(record.envelope, summary.record_id, proof, key), ""


def _text(opened: Record) -> tuple[str, str | None] | None:
    """Give the text of an opened input; None where there is none."""
    given = json.loads(opened.parts.get(INPUT, b"{}"))
    return (given["text"], given["text_pair"]) if "text" in given else None
