"""Canonical bytes are those of RFC 8785, whichever way they were written."""

from __future__ import annotations

from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from rollcall.audit.canonical import MAX_INTEGER, canonical

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(SCALARS, lambda each: st.lists(each) | st.dictionaries(st.text(), each))
RECORDS = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(st.characters(max_codepoint=127)), each),
)


@given(st.dictionaries(st.text(), VALUES))
def test_any_value_is_written_as_rfc_8785_says(value: dict[str, Any]) -> None:
    """Numbers, names beyond ASCII and their order, control characters: the bytes are the library's."""
    assert canonical(value) == rfc8785.dumps(value)


@given(st.lists(RECORDS))
def test_what_records_are_made_of_is_written_as_rfc_8785_says(value: list[Any]) -> None:
    """Without fractions and with names in ASCII, as records have them, nothing differs either."""
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "value", [MAX_INTEGER + 1, -MAX_INTEGER - 1, float("nan"), "half \ud800", {1: "a name"}, {"a": b"bytes"}]
)
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    """No record is signed whose bytes another reader could not make."""
    with pytest.raises(rfc8785.CanonicalizationError):
        canonical([value])


def test_names_are_sorted_by_utf_16() -> None:
    """A name beyond the basic plane comes before one at its end, although its code point is larger."""
    assert canonical({"\uffee": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\uffee":1}'.encode()
