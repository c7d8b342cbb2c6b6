"""Whose fault an error is."""

from __future__ import annotations

import pytest

from rollcall.domain import errors
from rollcall.domain.errors import (
    CallerError,
    CapacityError,
    FieldViolation,
    InvalidInput,
    ModelNotFound,
    RollcallError,
    ServiceError,
    Unsupported,
)

BLAME = {
    CallerError: {
        "InvalidInput",
        "ModelNotFound",
        "RecordNotFound",
        "Blocked",
        "NotAuthenticated",
        "NotPermitted",
        "Unsupported",
    },
    CapacityError: {
        "Overloaded",
        "QuotaExceeded",
        "Draining",
        "ModelNotReady",
        "DeadlineTooShort",
        "LogUnavailable",
        "RecordingFailed",
        "DeviceMemory",
        "DeviceLost",
    },
    ServiceError: {"BackendError", "ModelRejected", "FileRejected"},
}


@pytest.mark.parametrize(("blamed", "names"), BLAME.items(), ids=lambda x: getattr(x, "__name__", ""))
def test_blame_is_in_the_type(blamed: type[RollcallError], names: set[str]) -> None:
    """Whoever catches an error knows from its type alone whether to fix the request, come back, or call us."""
    assert {kind.__name__ for kind in blamed.__subclasses__()} == names
    assert blamed.__base__ is RollcallError


def test_every_error_is_in_the_drawing() -> None:
    """The tree at the top of the file is the whole tree."""
    drawn = errors.__doc__ or ""
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, RollcallError)]
    assert len(kinds) == 23
    assert all(kind.__name__ in drawn for kind in kinds)


def test_all_wrong_fields_are_reported_together() -> None:
    """A caller learns about every mistake at once, by the field's path."""
    error = InvalidInput(
        FieldViolation(field="text.text", description="is empty"), FieldViolation(field="model", description="unknown")
    )
    assert str(error) == "text.text: is empty; model: unknown"
    assert [v.field for v in error.violations] == ["text.text", "model"]
    assert InvalidInput.of("a.b", "is wrong").violations == (FieldViolation(field="a.b", description="is wrong"),)


def test_errors_name_their_subject_for_machines() -> None:
    """Programs read the name, people the message."""
    assert ModelNotFound("bert", "no such model").name == "bert"
    assert Unsupported("map.FLOW", "cannot make it").subject == "map.FLOW"


def test_lack_of_capacity_says_when_to_come_back() -> None:
    """Every capacity error carries a hint, longer for a model that is still loading."""
    kinds = set(CapacityError.__subclasses__()) - {errors.QuotaExceeded}
    hints = {kind: kind("x").retry_after for kind in kinds}
    assert errors.QuotaExceeded("tenant", "limit", 7.5).retry_after == 7.5
    assert all(seconds > 0 for seconds in hints.values())
    assert hints[errors.ModelNotReady] > hints[errors.Overloaded]
