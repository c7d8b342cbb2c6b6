"""Every call of AuditService has its method here, and replies come back as values."""

from __future__ import annotations

import pytest

from rollcall_client import _record_answers as answers
from rollcall_client import _record_calls as calls
from rollcall_client._v1 import audit_service_pb2 as wire
from rollcall_client.enums import Disposition, ReplayOutcome, ReviewAction, ReviewState

SERVICE = wire.DESCRIPTOR.services_by_name["AuditService"]


def test_every_call_is_here() -> None:
    """A new call on the wire gets one here, with the reply that the wire says."""
    found = {method.path.rpartition("/")[2]: method.reply.DESCRIPTOR for method in calls.METHODS}
    assert found == {method.name: method.output_type for method in SERVICE.methods}
    assert len(calls.METHODS) == len(SERVICE.methods)


def test_an_export_is_whole_or_none() -> None:
    """Chunks make the zip that the header announces; with one too few, or no header, there is no export."""
    header = answers.export_part(wire.ExportRecordsResponse(header=wire.ExportHeader(records=2, size_bytes=5)))
    first, second = (answers.export_part(wire.ExportRecordsResponse(chunk=data)) for data in (b"abc", b"de"))
    whole = answers.export(iter([header, first, second]))
    assert (whole.header.records, whole.zip) == (2, b"abcde")
    for parts in ([header, first], [first, second], []):
        with pytest.raises(ValueError, match="not whole"):
            answers.export(iter(parts))


def test_what_is_absent_is_none() -> None:
    """No access, no index and no rationale are None, not 0 and not empty."""
    assert answers.record(wire.GetRecordResponse()).access_log_index is None
    assert answers.record(wire.GetRecordResponse(access_log_index=0)).access_log_index == 0
    assert answers.hold(wire.PlaceHoldResponse(records=0)).log_index is None
    assert answers.retention(wire.ApplyRetentionResponse()).log_index is None
    steps = [wire.ReviewStep(), wire.ReviewStep(rationale="")]
    review = answers.review(wire.OpenReviewResponse(review=wire.Review(steps=steps)))
    assert [step.rationale for step in review.steps] == [None, ""]
    assert (review.state, review.disposition) == (ReviewState.UNSPECIFIED, Disposition.UNSPECIFIED)


def test_what_a_newer_service_says_is_kept() -> None:
    """A number that is not known here is nobody's: no outcome that is mistaken for EXACT."""
    replay = answers.replay(wire.ReplayRecordResponse(outcome=77))  # type: ignore[arg-type] # a newer service
    assert replay.outcome not in list(ReplayOutcome)
    assert ReviewAction(99).name == "UNKNOWN_99"


def test_an_event_is_read_and_kept_as_it_was_logged() -> None:
    """The body is there to the byte, and read; one that is no JSON contradicts itself."""
    body = '{"type":"access","actor":"auditor"}'
    (event,) = answers.events(wire.ListEventsResponse(events=[wire.Event(log_index=3, body=body)]))
    assert (event.log_index, event.body, event.what["actor"]) == (3, body, "auditor")
    with pytest.raises(ValueError, match="Expecting"):
        answers.events(wire.ListEventsResponse(events=[wire.Event(body="no")]))
