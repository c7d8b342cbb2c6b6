"""What is wrong with a ModelInferRequest is found before anything is run, and said by field."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.domain.decision import Task
from rollcall.domain.errors import InvalidInput
from rollcall.edge.converters.oip.catalog import MAX_BATCH
from rollcall.edge.converters.oip.listings import metadata
from rollcall.edge.converters.oip.options import timeout_seconds
from rollcall.edge.converters.oip.requests import read_batch, renamed
from rollcall.edge.converters.oip.tensors import Texts, write_tensor
from rollcall.oip import open_inference_pb2 as oip
from tests.unit.edge import samples
from tests.unit.edge.fakes import LIMITS
from tests.unit.edge.test_inference import IDS, MASK, packed, tensor, texts, tokens

if TYPE_CHECKING:
    from collections.abc import Callable


def refused(request: oip.ModelInferRequest) -> dict[str, str]:
    """Read a request that must be refused; return the violations by field."""
    with pytest.raises(InvalidInput) as refusal:
        read_batch(request, LIMITS, revision="")
    return {violation.field: violation.description for violation in refusal.value.violations}


def changed(change: Callable[[oip.ModelInferRequest], object], base: oip.ModelInferRequest) -> oip.ModelInferRequest:
    """Change a good request."""
    change(base)
    return base


def mixed(request: oip.ModelInferRequest) -> None:
    """Add typed contents beside raw ones."""
    request.inputs[0].contents.bytes_contents.append(b"x")


def typed_ids(request: oip.ModelInferRequest, **contents: Any) -> None:  # noqa: ANN401 - repeated fields
    """Make the ids typed."""
    del request.raw_input_contents[:]
    del request.inputs[1]
    request.inputs[0].contents.CopyFrom(oip.InferTensorContents(**contents))


TEXT_CASES: dict[str, tuple[Callable[[Any], object], str]] = {
    "no input": (lambda r: r.inputs.__delitem__(0), "inputs"),
    "unknown input": (lambda r: setattr(r.inputs[0], "name", "pixels"), "inputs"),
    "text twice": (lambda r: r.inputs.append(r.inputs[0]), "inputs"),
    "wrong type": (lambda r: setattr(r.inputs[0], "datatype", "FP32"), "inputs[0].datatype"),
    "no shape": (lambda r: r.inputs[0].shape.__delitem__(0), "inputs[0].shape"),
    "three axes": (lambda r: r.inputs[0].shape.extend([1, 1]), "inputs[0].shape"),
    "no items": (lambda r: r.inputs[0].shape.__setitem__(0, 0), "inputs[0].shape"),
    "negative axis": (lambda r: r.inputs[0].shape.__setitem__(0, -2), "inputs[0].shape"),
    "too many items": (lambda r: r.inputs[0].shape.__setitem__(0, MAX_BATCH + 1), "inputs[0].shape"),
    "mixed": (mixed, "inputs[0].contents"),
    "a second raw entry": (lambda r: r.raw_input_contents.append(b""), "raw_input_contents"),
    "fewer elements": (lambda r: r.raw_input_contents.__setitem__(0, packed(b"a")), "raw_input_contents[0]"),
    "more elements": (lambda r: r.raw_input_contents.__setitem__(0, packed(b"a", b"b", b"c")), "raw_input_contents[0]"),
    "cut length": (lambda r: r.raw_input_contents.__setitem__(0, packed(b"a") + b"\1\0"), "raw_input_contents[0]"),
    "cut element": (
        lambda r: r.raw_input_contents.__setitem__(0, packed(b"a") + b"\xff\xff\xff\xffb"),
        "raw_input_contents[0]",
    ),
    "not UTF-8": (lambda r: r.raw_input_contents.__setitem__(0, packed(b"a", b"\xff")), "text[1]"),
    "shared memory": (
        lambda r: r.inputs[0].parameters["shared_memory_region"],
        "inputs[0].parameters[shared_memory_region]",
    ),
    "unknown output": (lambda r: r.outputs.add(name="rollcall.magic"), "outputs[0].name"),
    "output twice": (lambda r: (r.outputs.add(name="label"), r.outputs.add(name="label")), "outputs[1].name"),
    "classification": (
        lambda r: r.outputs.add(name="label").parameters["classification"],
        "outputs[0].parameters[classification]",
    ),
}


@pytest.mark.parametrize(("change", "field"), TEXT_CASES.values(), ids=TEXT_CASES.keys())
def test_bad_texts_are_refused_by_field(change: Callable[[Any], object], field: str) -> None:
    """Each mistake is found, and nothing else is blamed."""
    assert set(refused(changed(change, texts()))) == {field}


TOKEN_CASES: dict[str, tuple[Callable[[Any], object], str]] = {
    "overflowing shape": (lambda r: r.inputs[0].shape.__setitem__(1, 2**62), "inputs[0].shape"),
    "one axis": (lambda r: r.inputs[0].shape.__delitem__(1), "inputs[0].shape"),
    "cut ids": (lambda r: r.raw_input_contents.__setitem__(0, IDS.tobytes()[:-1]), "raw_input_contents[0]"),
    "ids as INT32": (lambda r: setattr(r.inputs[0], "datatype", "INT32"), "inputs[0].datatype"),
    "negative id": (lambda r: r.raw_input_contents.__setitem__(0, (IDS - 8).tobytes()), "input_ids[0][1]"),
    "huge id": (
        lambda r: r.raw_input_contents.__setitem__(0, np.where(IDS == 8, 2**40, IDS).tobytes()),
        "input_ids[0][2]",
    ),
    "mask of zeros": (
        lambda r: r.raw_input_contents.__setitem__(1, (MASK * [[1], [0]]).tobytes()),
        "attention_mask[1]",
    ),
    "padding on the left": (
        lambda r: r.raw_input_contents.__setitem__(1, MASK[:, ::-1].tobytes()),
        "attention_mask[1]",
    ),
    "mask of twos": (lambda r: r.raw_input_contents.__setitem__(1, (MASK * [[1], [2]]).tobytes()), "attention_mask[1]"),
    "mask alone": (lambda r: (r.inputs.__delitem__(0), r.raw_input_contents.__delitem__(0)), "inputs"),
    "no contents": (typed_ids, "inputs[0].contents.int64_contents"),
    "ids in another field": (lambda r: typed_ids(r, int_contents=[1] * 8), "inputs[0].contents.int_contents"),
    "ids in two fields": (
        lambda r: typed_ids(r, int64_contents=[1] * 8, bool_contents=[True]),
        "inputs[0].contents.bool_contents",
    ),
}


@pytest.mark.parametrize(("change", "field"), TOKEN_CASES.values(), ids=TOKEN_CASES.keys())
def test_bad_ids_are_refused_by_field(change: Callable[[Any], object], field: str) -> None:
    """Each mistake is found before anything of that size is made."""
    assert field in refused(changed(change, tokens()))


def test_masks_and_second_texts_have_the_shape_of_the_first() -> None:
    """Tensors that belong together have equally many items, and ids and masks equally many tokens."""
    request = tokens()
    request.inputs[1].shape[1] = 3
    request.raw_input_contents[1] = MASK[:, :3].tobytes()
    assert set(refused(request)) == {"inputs[1].shape"}
    request = texts()
    request.inputs.append(tensor("text_pair", "BYTES", 1))
    request.raw_input_contents.append(packed(b"x"))
    assert set(refused(request)) == {"inputs[1].shape"}


def test_types_other_than_zeros_are_refused_by_item() -> None:
    """Ids of a pair would be read as those of one text: nobody gets another answer than they asked for."""
    request = tokens()
    request.inputs.append(tensor("token_type_ids", "INT64", 2, 4))
    request.raw_input_contents.append((IDS == 9).astype("<i8").tobytes())
    found = refused(request)
    assert found == {"token_type_ids[1]": "must be zeros: a pair of texts goes as text and text_pair"}


def test_pairs_are_read_item_by_item() -> None:
    """The second text of an item goes with its first, in either of the shapes that clients send."""
    request = texts()
    request.inputs.append(tensor("text_pair", "BYTES", 2, 1))
    request.raw_input_contents.append(packed(b"x", b"y"))
    items = read_batch(request, LIMITS, revision="").items
    assert [item.text.text_pair for item in items] == ["x", "y"]


def test_words_are_named_item_by_item() -> None:
    """The number of the word that is asked about goes with its text; what is wrong with it is told by its tensor."""
    request = texts()
    request.inputs.append(tensor("word", "INT32", 2))
    request.raw_input_contents.append(np.array([3, -1], "<i4").tobytes())
    items = read_batch(request, LIMITS, revision="").items
    assert [item.text.word.index for item in items] == [3, -1]
    told = renamed(InvalidInput.of("text.word.index", "must not be negative"), 1).violations
    assert [violation.field for violation in told] == ["word[1]"]
    with_ids = tokens()
    with_ids.inputs.append(tensor("word", "INT32", 2))
    with_ids.raw_input_contents.append(np.array([3, 1], "<i4").tobytes())
    assert set(refused(with_ids)) == {"inputs"}


def test_a_labeller_of_words_lists_texts_with_words() -> None:
    """And no ids, with which no word could come; other models list no words."""
    words = metadata(replace(samples.card(), task=Task.TOKEN_LABEL, text_pairs=False))
    assert [one.name for one in words.inputs] == ["text", "word"]
    assert "word" not in [one.name for one in metadata(samples.card()).inputs]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rollcall_map", "raw_attention,magic"),
        ("rollcall_map", 1),
        ("rollcall_primary", "unspecified"),
        ("rollcall_check_level", "much"),
        ("rollcall_policy", True),
        ("rollcall_seed", -1),
        ("rollcall_seed", "7"),
        ("rollcall_max_rows", 2**32),
        ("rollcall_max_rows", True),
        ("rollcall_target", 2**31),
        ("rollcall_targets", "positive"),
        ("sequence_id", 5),
    ],
)
def test_bad_parameters_are_refused_by_name(name: str, value: object) -> None:
    """Ours must be known and of their type; a sequence cannot be passed over."""
    assert set(refused(texts("rollcall.flag", **{name: value}))) == {f"parameters[{name}]"}


def test_a_bad_timeout_is_refused() -> None:
    """A timeout is a number of microseconds; 0 is none."""
    with pytest.raises(InvalidInput, match=r"parameters\[timeout\]"):
        timeout_seconds(texts(timeout=-1).parameters)
    assert timeout_seconds(texts(timeout=0).parameters) is None
    assert timeout_seconds(texts(timeout=1500).parameters) == pytest.approx(0.0015)


def test_everything_wrong_is_told_at_once() -> None:
    """Outputs, parameters and inputs are all looked at."""
    request = texts("magic", rollcall_seed=-1)
    request.inputs[0].datatype = "FP32"
    assert set(refused(request)) == {"outputs[0].name", "parameters[rollcall_seed]", "inputs[0].datatype"}


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=MAX_BATCH))
def test_bytes_survive_raw_contents(elements: list[bytes]) -> None:
    """What is written raw is read back the same, whatever bytes there are."""
    reply = oip.ModelInferResponse()
    write_tensor("text", Texts(shape=(len(elements),), elements=elements), reply, raw=True)
    assert reply.raw_output_contents[0] == packed(*elements)


@given(st.binary(max_size=60), st.integers(1, 4))
def test_any_bytes_are_read_or_refused(data: bytes, items: int) -> None:
    """Raw contents of any kind give texts or InvalidInput, never another error."""
    request = oip.ModelInferRequest(inputs=[tensor("text", "BYTES", items)], raw_input_contents=[data])
    try:
        read = read_batch(request, LIMITS, revision="").items
    except InvalidInput:
        return
    assert packed(*(item.text.text.encode() for item in read)) == data
