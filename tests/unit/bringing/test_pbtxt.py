"""Protobuf's text format, read without a schema, beside the protobuf library, which knows one."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from rollcall.bringing.pbtxt import MOST_DEPTH, NotReadError, parse
from rollcall.oip import open_inference_pb2 as oip

WRITTEN = """
# as people write it
name: "reviews" platform: 'onnxruntime_onnx';
max_batch_size: 8
input [
  { name: "input_ids" data_type: TYPE_INT64 dims: [ -1 ] },
  { name: "attention_mask", data_type: TYPE_INT64, dims: -1 dims: 4 }  # two ways
]
input: < name: "a" "b\\143" >
instance_group [ { count: 1 kind: KIND_CPU }, {} ]
parameters { key: "x" value { string_value: "} # no \\"end\\"" } }
empty: []
"""


def test_what_people_write_is_read() -> None:
    """Comments, lists, both brackets, both quotes, escapes, strings in pieces, and whatever else Triton knows."""
    read = parse(WRITTEN)
    assert (read.text("name"), read.text("platform"), read.text("backend")) == ("reviews", "onnxruntime_onnx", "")
    assert [tensor.text("name") for tensor in read.messages("input")] == ["input_ids", "attention_mask", "abc"]
    assert read.messages("input")[1].fields["dims"] == ["-1", "4"]
    assert len(read.messages("instance_group")) == 2
    assert read.messages("parameters")[0].messages("value")[0].text("string_value") == '} # no "end"'
    assert read.fields["empty"] == []
    assert parse("").fields == {}


texts = st.text(st.characters(codec="utf-8"), max_size=20)
tensors = st.builds(
    oip.ModelInput, name=texts, dims=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3), optional=st.booleans()
)
configurations = st.builds(
    oip.ModelConfig, name=texts, max_batch_size=st.integers(-(2**31), 2**31 - 1), input=st.lists(tensors, max_size=3)
)


@given(configurations, st.booleans(), st.booleans())
def test_what_the_library_writes_is_read_as_it_was(
    config: oip.ModelConfig,
    as_one_line: bool,  # noqa: FBT001 - drawn
    as_utf8: bool,  # noqa: FBT001 - drawn
) -> None:
    """Every way in which the protobuf library writes a message."""
    read = parse(text_format.MessageToString(config, as_one_line=as_one_line, as_utf8=as_utf8))
    assert read.text("name") == config.name
    assert (read.text("max_batch_size") or "0") == str(config.max_batch_size)
    assert [one.text("name") for one in read.messages("input")] == [one.name for one in config.input]
    assert [one.fields.get("dims", []) for one in read.messages("input")] == [
        [str(dim) for dim in one.dims] for one in config.input
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('name: "open', "line 1: nothing of the format"),
        ("name", "expected a colon"),
        ("name:", "expected a value"),
        ("\n\ninput {", "line 3: expected a field"),
        ("input { name: 1 >", "expected a field, got '>'"),
        ("dims: [1 2]", "expected a comma"),
        ("dims: [1", "expected a comma"),
        ("}", "expected a field, got '}'"),
        ('name: "\\xff"', "no UTF-8"),
        ('name: "\\u12"', "wrong escape"),
        ("a {" * (MOST_DEPTH + 2), "messages in each other"),
        ("a {" * 100_000, "messages in each other"),
        ("\0", "nothing of the format"),
    ],
)
def test_what_is_no_such_text_is_refused_with_its_line(text: str, problem: str) -> None:
    """A file that is cut, or another format, or made to exhaust whoever reads it."""
    with pytest.raises(NotReadError, match=problem):
        parse(text)


@given(st.text(st.sampled_from('ab:{}[]<>"\\\n#, ;1'), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing else comes out."""
    try:
        parse(text)
    except NotReadError as error:
        assert str(error).startswith("line ")  # noqa: PT017 - either outcome is right
