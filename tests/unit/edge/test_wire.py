"""Bytes that are not a request are refused with the field at fault, and never crash the decoder."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rollcall.domain.errors import FieldViolation
from rollcall.edge.wire import MAX_FIELDS, Undecodable, decoder
from rollcall.v1 import common_pb2, explanation_pb2, explanation_service_pb2

SERVICE = explanation_service_pb2.DESCRIPTOR.services_by_name["ExplanationService"]
decode = decoder(SERVICE.methods_by_name["Explain"].input_type)

TEXT = explanation_pb2.ExplainRequest(text=common_pb2.TextInput(text="ok")).SerializeToString()
TOKENS = explanation_pb2.ExplainRequest(tokens=common_pb2.TokensInput(input_ids=[1])).SerializeToString()


def refused(data: bytes) -> dict[str, str]:
    """Decode bytes that must be refused; return the violations by field."""
    result = decode(data)
    assert isinstance(result, Undecodable)
    return {violation.field: violation.description for violation in result.violations}


def test_a_valid_request_is_decoded() -> None:
    """Bytes of a request give the request."""
    assert decode(TEXT) == explanation_pb2.ExplainRequest(text=common_pb2.TextInput(text="ok"))


def test_invalid_utf8_is_named_by_field() -> None:
    """A text that is not UTF-8 is refused by its path, in messages within messages too."""
    broken = TEXT.replace(b"ok", b"\xc3\x28")
    assert refused(broken) == {"text.text": "must be valid UTF-8"}
    label = explanation_pb2.ExplainRequest(target=common_pb2.Target(label="xx"), model="yy").SerializeToString()
    assert set(refused(label.replace(b"xx", b"\xff\xff").replace(b"yy", b"\xfe\xfe"))) == {"model", "target.label"}


def test_both_inputs_are_refused() -> None:
    """Two inputs in one request are a mistake, where the protobuf library would silently keep the last."""
    assert refused(TEXT + TOKENS) == {"input": "only one of its members may be set, not text and tokens"}


def test_two_targets_are_refused() -> None:
    """A target by index and by label at once is a mistake."""
    by_index = explanation_pb2.ExplainRequest(target=common_pb2.Target(class_index=1)).SerializeToString()
    by_label = explanation_pb2.ExplainRequest(target=common_pb2.Target(label="a")).SerializeToString()
    merged = by_label[:1] + bytes([by_label[1] + by_index[1]]) + by_label[2:] + by_index[2:]
    assert refused(TEXT + merged) == {"target.target": "only one of its members may be set, not class_index and label"}


def test_noise_is_refused() -> None:
    """Bytes that are no protobuf at all are refused as a whole."""
    (description,) = refused(b"\xff\xff\xff").values()
    assert description == "the request is not a valid rollcall.v1.ExplainRequest message"


def test_an_unknown_field_is_no_mistake() -> None:
    """A newer client may send fields that this version does not know."""
    assert not isinstance(decode(TEXT + b"\xf8\x3f\x01"), Undecodable)


def test_a_text_sent_twice_is_no_mistake() -> None:
    """The same member of a oneof may come in pieces, as protobuf allows."""
    assert not isinstance(decode(TEXT + TEXT), Undecodable)


def test_a_hostile_number_of_fields_is_refused() -> None:
    """A message of millions of tiny fields does not keep the server busy."""
    unpacked_maps = b"\x40\x01" * (MAX_FIELDS + 1)
    assert refused(TEXT + unpacked_maps) == {"": f"must have at most {MAX_FIELDS} entries"}


@settings(max_examples=500)
@given(st.binary(max_size=60) | st.binary(max_size=20).map(lambda noise: TEXT + noise))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    """The decoder gives a message or violations with a description, for all bytes."""
    result = decode(data)
    if isinstance(result, Undecodable):
        assert result.violations
        assert all(isinstance(violation, FieldViolation) and violation.description for violation in result.violations)
    else:
        assert isinstance(result, explanation_pb2.ExplainRequest)
