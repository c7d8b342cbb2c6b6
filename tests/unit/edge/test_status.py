"""Every error leaves with the code that says whose fault it is, within the size that peers accept."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from rollcall.domain import errors
from rollcall.edge import status

CANARY = "the quick brown canary"


def detail(rejection: status.Rejection, kind: type[Any]) -> Any:  # noqa: ANN401 - fields come from a descriptor
    """Unpack the one detail of a kind."""
    message = kind()
    parsed = status_pb2.Status.FromString(rejection.details)
    assert any(packed.Unpack(message) for packed in parsed.details)
    return message


def reason(rejection: status.Rejection) -> str:
    """Read the reason that programs see."""
    return str(detail(rejection, error_details_pb2.ErrorInfo).reason)


@pytest.mark.parametrize(
    ("error", "code", "expected_reason"),
    [
        (errors.InvalidInput.of("text.text", "must contain a word"), "INVALID_ARGUMENT", "INVALID_INPUT"),
        (errors.ModelNotFound("m", "no model of this name"), "NOT_FOUND", "MODEL_NOT_FOUND"),
        (errors.Unsupported("THOROUGH", "not available yet"), "FAILED_PRECONDITION", "UNSUPPORTED"),
        (errors.CallerError("wrong"), "INVALID_ARGUMENT", "INVALID_REQUEST"),
        (errors.Overloaded("the queue is full"), "UNAVAILABLE", "OVERLOADED"),
        (errors.Draining("stopping"), "UNAVAILABLE", "DRAINING"),
        (errors.ModelNotReady("loading"), "UNAVAILABLE", "MODEL_NOT_READY"),
        (errors.DeadlineTooShort("too short"), "DEADLINE_EXCEEDED", "ADMISSION"),
        (errors.DeviceMemory("one row is too large"), "RESOURCE_EXHAUSTED", "DEVICE_MEMORY"),
        (errors.CapacityError("not now"), "UNAVAILABLE", "NO_CAPACITY"),
        (errors.BackendError("it broke"), "INTERNAL", "INTERNAL"),
        (errors.ModelRejected("not a model"), "INTERNAL", "INTERNAL"),
        (errors.ServiceError("ours"), "INTERNAL", "INTERNAL"),
        (errors.RollcallError("anything"), "INTERNAL", "INTERNAL"),
        (ZeroDivisionError(CANARY), "INTERNAL", "INTERNAL"),
    ],
)
def test_each_error_has_its_code(error: Exception, code: str, expected_reason: str) -> None:
    """The code and the reason follow from the class of the error alone."""
    rejection = status.rejection(error)
    assert rejection.code is grpc.StatusCode[code]
    assert reason(rejection) == expected_reason
    parsed = status_pb2.Status.FromString(rejection.details)
    assert (parsed.code, parsed.message) == (rejection.code.value[0], rejection.message)


def test_every_error_class_is_covered() -> None:
    """No class of the tree is forgotten: it has a row, or is our fault."""

    def tree(kind: type[errors.RollcallError]) -> set[type[errors.RollcallError]]:
        return {kind}.union(*(tree(child) for child in kind.__subclasses__()))

    ours = tree(errors.ServiceError) | {errors.RollcallError}
    assert tree(errors.RollcallError) - ours == set(status.TABLE)


def test_field_violations_are_listed() -> None:
    """A caller's program can read which fields are wrong."""
    error = errors.InvalidInput(
        errors.FieldViolation(field="max_rows", description="must lie between 1 and 9"),
        errors.FieldViolation(field="text.text", description="must contain at least one word"),
    )
    bad = detail(status.rejection(error), error_details_pb2.BadRequest)
    assert [(v.field, v.description) for v in bad.field_violations] == [
        ("max_rows", "must lie between 1 and 9"),
        ("text.text", "must contain at least one word"),
    ]


def test_missing_model_is_named() -> None:
    """The resource that was not found is the model by its name."""
    info = detail(status.rejection(errors.ModelNotFound("m7", "no such model")), error_details_pb2.ResourceInfo)
    assert (info.resource_type, info.resource_name) == ("model", "m7")


def test_unmet_condition_is_named() -> None:
    """What this model cannot do is named in one token."""
    failure = detail(
        status.rejection(errors.Unsupported("THOROUGH", "not available yet")), error_details_pb2.PreconditionFailure
    )
    (violation,) = failure.violations
    assert (violation.subject, violation.description) == ("THOROUGH", "not available yet")


def test_a_quota_says_whose_what_and_when() -> None:
    """A tenant over its quota learns which limit it is, and when to come back: both details leave."""
    rejection = status.rejection(errors.QuotaExceeded("reviews", "at most 5 requests per second", 1.5))
    (violation,) = detail(rejection, error_details_pb2.QuotaFailure).violations
    assert (violation.subject, violation.description) == ("tenant:reviews", "at most 5 requests per second")
    assert detail(rejection, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 1500
    assert rejection.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason(rejection) == "QUOTA_EXCEEDED"


def test_retry_delay_is_told() -> None:
    """A caller who comes too early learns when to come back."""
    loading = detail(status.rejection(errors.ModelNotReady("loading")), error_details_pb2.RetryInfo)
    assert loading.retry_delay.ToNanoseconds() == 5e9


def test_internal_errors_say_nothing_but_an_id() -> None:
    """An unexpected error leaves as a fixed text and an id that differs each time."""
    first, second = (status.rejection(ValueError(CANARY)) for _ in range(2))
    assert first.error_id
    assert first.error_id != second.error_id
    assert CANARY.encode() not in first.details
    assert first.message == f"internal error; the server's log has it under error id {first.error_id}"
    info = detail(first, error_details_pb2.ErrorInfo)
    assert dict(info.metadata) == {"error_id": first.error_id}


@given(st.lists(st.tuples(st.text(), st.text()), max_size=60), st.text(alphabet="aé字👩%"), st.integers(1, 500))
def test_statuses_stay_small(pairs: list[tuple[str, str]], text: str, times: int) -> None:
    """However much is wrong, message and details keep to what every peer accepts."""
    violations = [errors.FieldViolation(field=field * times, description=text * times) for field, text in pairs]
    for error in (
        errors.InvalidInput(*violations),
        errors.ModelNotFound(text * times, text * times),
        errors.Unsupported(text * times, text * times),
        errors.Overloaded(text * times),
    ):
        rejection = status.rejection(error)
        assert len(rejection.details) <= status.MAX_DETAILS_BYTES
        assert sum(1 if " " <= c <= "~" and c != "%" else 3 * len(c.encode()) for c in rejection.message) <= 1_000


def test_as_many_violations_as_fit_are_kept() -> None:
    """Long descriptions cost violations at the end of the list, not the whole list."""
    violations = (errors.FieldViolation(field=f"maps[{i}]", description="x" * 300) for i in range(50))
    bad = detail(status.rejection(errors.InvalidInput(*violations)), error_details_pb2.BadRequest)
    assert 8 <= len(bad.field_violations) < status.MAX_VIOLATIONS
    assert bad.field_violations[0].field == "maps[0]"
