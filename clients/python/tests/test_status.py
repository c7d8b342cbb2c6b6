"""Error details are read without the package that defines them, and agree with it."""

from __future__ import annotations

from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from rollcall_client import _status
from rollcall_client._status import Details, read_details

# Where the published definitions keep the fields that are read here.
PUBLISHED = {
    "Any": any_pb2.Any,
    "Duration": duration_pb2.Duration,
    "Status": status_pb2.Status,
    "RetryInfo": error_details_pb2.RetryInfo,
    "BadRequest": error_details_pb2.BadRequest,
    "FieldViolation": error_details_pb2.BadRequest.FieldViolation,
    "ErrorInfo": error_details_pb2.ErrorInfo,
    "ResourceInfo": error_details_pb2.ResourceInfo,
    "PreconditionFailure": error_details_pb2.PreconditionFailure,
    "PreconditionViolation": error_details_pb2.PreconditionFailure.Violation,
    "QuotaFailure": error_details_pb2.QuotaFailure,
    "QuotaViolation": error_details_pb2.QuotaFailure.Violation,
}


def pack(*details: object) -> bytes:
    """The trailer of a failure with these details, made by the published package."""
    status = status_pb2.Status(code=8, message="refused")
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)  # type: ignore[arg-type]  # the published details have no types
        status.details.append(packed)
    return bytes(status.SerializeToString())


def test_the_field_numbers_are_the_published_ones() -> None:
    """What is defined by hand is what the published package defines."""
    for name, message in PUBLISHED.items():
        published = {field.name: field.number for field in message.DESCRIPTOR.fields}
        ours = {field: number for field, (number, _) in _status._SCHEMA[name].items()}  # noqa: SLF001 - under test
        assert ours.items() <= published.items()


def test_all_kinds_of_detail_are_read() -> None:
    """Bytes made by the published package give their contents."""
    trailer = pack(
        error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2, nanos=500_000_000)),
        error_details_pb2.BadRequest(
            field_violations=[error_details_pb2.BadRequest.FieldViolation(field="text", description="empty")]
        ),
        error_details_pb2.PreconditionFailure(
            violations=[error_details_pb2.PreconditionFailure.Violation(subject="map", description="no gradients")]
        ),
        error_details_pb2.QuotaFailure(
            violations=[error_details_pb2.QuotaFailure.Violation(subject="tenant", description="used up")]
        ),
        error_details_pb2.ErrorInfo(reason="INTERNAL", metadata={"error_id": "e-1", "other": "x"}),
        error_details_pb2.ResourceInfo(resource_type="model", resource_name="reviews", description="unknown"),
        error_details_pb2.Help(),
    )
    assert read_details(trailer) == Details(
        retry_after=2.5,
        violations=(("text", "empty"), ("map", "no gradients"), ("tenant", "used up")),
        resource="reviews",
        error_id="e-1",
    )


def test_no_trailer_says_nothing() -> None:
    """Most failures carry no details."""
    assert read_details(None) == read_details(pack()) == Details()


def test_an_empty_delay_is_a_delay() -> None:
    """To come back at once is advice; no advice is none."""
    assert read_details(pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration()))).retry_after == 0.0
    assert read_details(pack(error_details_pb2.RetryInfo())).retry_after is None


@given(st.binary())
def test_noise_never_hides_the_failure(trailer: bytes) -> None:
    """Bytes that cannot be read count as nothing said."""
    assert isinstance(read_details(trailer), Details)


@given(st.sampled_from(sorted(_status._READ)), st.binary())  # noqa: SLF001 - under test
def test_noise_inside_a_detail_never_hides_the_failure(name: str, value: bytes) -> None:
    """The same holds for each detail."""
    packed = any_pb2.Any(type_url=f"type.googleapis.com/google.rpc.{name}", value=value)
    assert isinstance(read_details(bytes(status_pb2.Status(details=[packed]).SerializeToString())), Details)
