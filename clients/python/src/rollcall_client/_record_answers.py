"""Replies of AuditService to Python values: pure functions. All raise ValueError where a reply contradicts itself."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC
from typing import TYPE_CHECKING

from rollcall_client import enums, records
from rollcall_client._answers import explanation
from rollcall_client.trends import Trend, Trends

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rollcall_client._v1 import audit_service_pb2
    from rollcall_client.explanation import Explanation

    _Reviewed = (
        audit_service_pb2.OpenReviewResponse
        | audit_service_pb2.AssignReviewResponse
        | audit_service_pb2.CommentReviewResponse
        | audit_service_pb2.DecideReviewResponse
        | audit_service_pb2.SecondReviewResponse
        | audit_service_pb2.ApproveReviewResponse
        | audit_service_pb2.ReturnReviewResponse
        | audit_service_pb2.ReopenReviewResponse
        | audit_service_pb2.GetReviewResponse
    )


def caller(reply: audit_service_pb2.GetCallerResponse) -> records.Caller:
    """Who asks."""
    return records.Caller(name=reply.name, roles=frozenset(reply.roles))


def record(reply: audit_service_pb2.GetRecordResponse) -> records.Record:
    """A record."""
    return records.Record(
        summary=summary(reply.summary),
        envelope=reply.envelope,
        entry=reply.entry,
        events=_events(reply.events),
        parts={part.kind: part.content for part in reply.parts},
        access_log_index=reply.access_log_index if reply.HasField("access_log_index") else None,
        redactions=tuple(
            records.Redaction(part=each.part, field=each.field, start=each.start, end=each.end, what=each.what)
            for each in reply.redactions
        ),
    )


def page(reply: audit_service_pb2.SearchRecordsResponse) -> records.RecordPage:
    """A page of a search."""
    return records.RecordPage(
        records=tuple(summary(found) for found in reply.records),
        next_page_token=reply.next_page_token,
        log_size=reply.log_size,
    )


def events(reply: audit_service_pb2.ListEventsResponse) -> tuple[records.Event, ...]:
    """Events."""
    return _events(reply.events)


def proof(reply: audit_service_pb2.GetProofResponse) -> records.LogProof:
    """A proof."""
    return records.LogProof(entry=reply.entry, proof=reply.proof, verifier_key=reply.verifier_key)


def checkpoint(reply: audit_service_pb2.GetCheckpointResponse) -> records.LogCheckpoint:
    """A checkpoint."""
    return records.LogCheckpoint(
        note=reply.note, size=reply.size, verifier_key=reply.verifier_key, consistency=tuple(reply.consistency)
    )


def report(reply: audit_service_pb2.VerifyLogResponse) -> records.LogReport:
    """What verifying found."""
    return records.LogReport(
        holds=reply.holds,
        entries=reply.entries,
        problems=tuple((found.place, found.problem) for found in reply.problems),
        problem_count=reply.problem_count,
        remarks=tuple(reply.remarks),
    )


def erasure(
    reply: audit_service_pb2.EraseRecordResponse | audit_service_pb2.EraseSubjectResponse,
) -> records.ErasureCertificate:
    """What is kept of an erasure."""
    found = reply.certificate
    return records.ErasureCertificate(
        erasure_id=found.erasure_id,
        records=found.records,
        log_index=found.log_index,
        event=found.event,
        entry=found.entry,
        proof=found.proof,
        verifier_key=found.verifier_key,
    )


def hold(reply: audit_service_pb2.PlaceHoldResponse | audit_service_pb2.ReleaseHoldResponse) -> records.HoldResult:
    """What was held or released."""
    return records.HoldResult(records=reply.records, log_index=reply.log_index if reply.HasField("log_index") else None)


def retention(reply: audit_service_pb2.ApplyRetentionResponse) -> records.RetentionResult:
    """What was due."""
    return records.RetentionResult(
        rows=tuple(
            records.RetentionRow(
                model=row.model,
                type=enums.RecordType(row.type),
                days=row.days,
                before=row.before.ToDatetime(tzinfo=UTC),
                due=row.due,
                held=row.held,
            )
            for row in reply.rows
        ),
        erased=reply.erased,
        log_index=reply.log_index if reply.HasField("log_index") else None,
    )


def replay(reply: audit_service_pb2.ReplayRecordResponse) -> records.Replay:
    """What a replay came to."""
    return records.Replay(
        outcome=enums.ReplayOutcome(reply.outcome),
        differences=tuple(
            records.ReplayDifference(what=each.what, recorded=each.recorded, now=each.now) for each in reply.differences
        ),
        log_index=reply.log_index,
    )


def explained(reply: audit_service_pb2.ExplainRecordResponse) -> Explanation:
    """A decision, explained afterwards."""
    return explanation(reply.explanation)


def review(reply: _Reviewed) -> records.Review:
    """The review after a step."""
    return _review(reply.review)


def reviews(reply: audit_service_pb2.ListReviewsResponse) -> tuple[records.Review, ...]:
    """Reviews."""
    return tuple(_review(found) for found in reply.reviews)


def review_statistics(reply: audit_service_pb2.GetReviewStatisticsResponse) -> records.ReviewStatistics:
    """How reviewers do."""
    return records.ReviewStatistics(
        states={enums.ReviewState(each.state): each.reviews for each in reply.states},
        overdue=reply.overdue,
        second_opinions=reply.second_opinions,
        agreed=reply.agreed,
        kappa=reply.kappa if reply.HasField("kappa") else None,
    )


def trends(reply: audit_service_pb2.GetTrendsResponse) -> Trends:
    """How the answers of a model went."""
    return Trends(periods=tuple(_trend(found) for found in reply.trends), log_size=reply.log_size)


def _trend(found: audit_service_pb2.Trend) -> Trend:
    flags, reasons = Counter[enums.Flag](), Counter[enums.Reason]()
    for each in found.flags:
        flags[enums.Flag(each.flag)] += each.explanations
        if each.reason:
            reasons[enums.Reason(each.reason)] += each.explanations
    return Trend(
        start=found.start.ToDatetime(tzinfo=UTC).date(),
        flags=dict(flags),
        reasons=dict(reasons),
        decisions=found.decisions,
        mismatches=found.mismatches,
        usable_for_notice=found.usable_for_notice,
        reviews_opened=found.reviews_opened,
        reviews_closed=found.reviews_closed,
        second_opinions=found.second_opinions,
        agreed=found.agreed,
        replays={enums.ReplayOutcome(each.outcome): each.replays for each in found.replays},
    )


def _review(found: audit_service_pb2.Review) -> records.Review:
    return records.Review(
        record_id=found.record_id,
        state=enums.ReviewState(found.state),
        case_number=found.case_number,
        assignee=found.assignee,
        disposition=enums.Disposition(found.disposition),
        decided_by=found.decided_by,
        approved_by=found.approved_by,
        steps=tuple(
            records.ReviewStep(
                log_index=step.log_index,
                created_at=step.created_at.ToDatetime(tzinfo=UTC),
                actor=step.actor,
                action=enums.ReviewAction(step.action),
                state=enums.ReviewState(step.state),
                rationale=step.rationale if step.HasField("rationale") else None,
            )
            for step in found.steps
        ),
        rules=tuple(found.rules),
        due_at=found.due_at.ToDatetime(tzinfo=UTC) if found.HasField("due_at") else None,
        second_due=found.second_due,
        second_by=found.second_by,
        second_disposition=enums.Disposition(found.second_disposition) if found.second_by else None,
    )


def summary(found: audit_service_pb2.RecordSummary) -> records.RecordSummary:
    """A record as a list shows it."""
    return records.RecordSummary(
        record_id=found.record_id,
        log_index=found.log_index,
        type=enums.RecordType(found.type),
        created_at=found.created_at.ToDatetime(tzinfo=UTC),
        explanation_id=found.explanation_id,
        model=found.model,
        model_digest=found.model_digest,
        predicted=found.predicted,
        flag=enums.Flag(found.flag),
        reason=enums.Reason(found.reason),
        usable_for_notice=found.usable_for_notice,
        mismatch=found.mismatch,
        mode=enums.RecordMode(found.mode),
        erased=found.erased,
        held=found.held,
        review=found.review,
        tenant=found.tenant,
    )


def entry(reply: audit_service_pb2.StreamRecordsResponse) -> records.LogEntry:
    """An entry of the log."""
    return records.LogEntry(log_index=reply.log_index, entry=reply.entry, envelope=reply.envelope, event=reply.event)


def export_part(reply: audit_service_pb2.ExportRecordsResponse) -> records.ExportHeader | bytes:
    """A message of an export: what it is, or the next of its bytes."""
    if reply.WhichOneof("content") != "header":
        return reply.chunk
    header = reply.header
    return records.ExportHeader(
        records=header.records,
        left_out_as_unsigned=header.left_out_as_unsigned,
        log_size=header.log_size,
        manifest_sha256=header.manifest_sha256,
        log_index=header.log_index,
        size_bytes=header.size_bytes,
    )


def export(parts: Iterator[records.ExportHeader | bytes]) -> records.Export:
    """An export out of its messages."""
    header, chunks = next(parts, None), [part for part in parts if isinstance(part, bytes)]
    if not isinstance(header, records.ExportHeader) or header.size_bytes != sum(map(len, chunks)):
        message = "an export that is not whole"
        raise ValueError(message)
    return records.Export(header=header, zip=b"".join(chunks))


def _events(found: Iterable[audit_service_pb2.Event]) -> tuple[records.Event, ...]:
    return tuple(records.Event(log_index=each.log_index, body=each.body, what=json.loads(each.body)) for each in found)
