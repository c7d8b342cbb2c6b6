"""Requests are read whole; whatever is wrong is reported together, by field path."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.domain.errors import InvalidInput
from rollcall.domain.explanation import ExplainRequest
from rollcall.domain.identity import ANYONE, Identity, Role
from rollcall.domain.inputs import ImageInput, PixelsInput, Target, TextInput, Threshold, TokensInput, WordRef
from rollcall.domain.maps import AttentionSelection, HeadFusion, HeadReduction, MapKind, MapOptions, TensorType
from rollcall.domain.recording import AuditChoice
from rollcall.domain.verdicts import CheckLevel
from rollcall.edge.converters import enums
from rollcall.edge.converters.requests import (
    MAX_LIST_ENTRIES,
    MAX_VIOLATIONS,
    explain_request,
    model_name,
    predict_request,
)
from rollcall.v1 import common_pb2, explanation_pb2, explanation_service_pb2
from tests.unit.edge import fakes

LIMITS = replace(fakes.LIMITS, max_characters=50, max_rows=100)
CALLER = Identity(name="backend", tenant="reviews", roles=frozenset({Role.CALLER}))
TEXT = common_pb2.TextInput(text="a good film")


def points(count: int) -> explanation_pb2.IntegratedGradientsOptions:
    """Ask for so many points."""
    return explanation_pb2.IntegratedGradientsOptions(points=count)


def rollout(**fields: Any) -> explanation_pb2.RolloutOptions:  # noqa: ANN401 - what a message takes
    """Make options of ATTENTION_ROLLOUT, enum values unknown to this version included."""
    return explanation_pb2.RolloutOptions(**fields)


def selection(**fields: Any) -> explanation_pb2.AttentionSelection:  # noqa: ANN401 - what a message takes
    """Make an attention selection, enum values unknown to this version included."""
    return explanation_pb2.AttentionSelection(**fields)


def read(**fields: Any) -> ExplainRequest:  # noqa: ANN401 - what a message takes
    """Read an ExplainRequest with a text, unless the fields bring another input."""
    given_input = {} if "tokens" in fields else {"text": TEXT}
    message = explanation_pb2.ExplainRequest(**{**given_input, **fields})
    return explain_request(message, limits=LIMITS, deadline=None, caller=ANYONE)


def violations(**fields: Any) -> dict[str, str]:  # noqa: ANN401 - what a message takes
    """Read an ExplainRequest that is wrong, and return what is said about it."""
    with pytest.raises(InvalidInput) as raised:
        read(**fields)
    return {violation.field: violation.description for violation in raised.value.violations}


def test_empty_request_takes_every_default() -> None:
    """Somebody who sends only a text gets the defaults of model, policy and server."""
    request = explain_request(explanation_pb2.ExplainRequest(text=TEXT), limits=LIMITS, deadline=12.5, caller=CALLER)
    assert request == ExplainRequest(
        request_id="",
        model="",
        revision="",
        input=TextInput(text="a good film"),
        target=Target(),
        threshold=None,
        deadline=12.5,
        caller=CALLER,
    )


def test_every_field_is_read() -> None:
    """No field of a request is accepted and ignored."""
    request = read(
        request_id="id 1",
        model="m",
        revision="r",
        text=common_pb2.TextInput(text="premise", text_pair="hypothesis"),
        target=common_pb2.Target(class_index=1, foil_label="negative"),
        threshold=common_pb2.Threshold(label="positive", probability=0.93),
        maps=[2, 1, 2],
        primary_map=5,
        raw_attention=explanation_pb2.RawAttentionOptions(layers=[1, 0], heads=[3]),
        rollout=rollout(head_fusion=3, start_layer=2),
        integrated_gradients=points(30),
        attention=selection(layers=[0], heads=[1], head_reduction=2, queries=1, data_type=3),
        check_level=1,
        policy="strict",
        max_rows=7,
        seed=2**64 - 1,
        reported_label="positive",
        reported_score=0.0,
    )
    assert request == ExplainRequest(
        request_id="id 1",
        model="m",
        revision="r",
        input=TextInput(text="premise", text_pair="hypothesis"),
        target=Target(target=1, foil="negative"),
        threshold=Threshold(label="positive", probability=0.93),
        deadline=None,
        maps=(MapKind.ATTENTION_ROLLOUT, MapKind.RAW_ATTENTION),
        primary_map=MapKind.GRADIENT_ROLLOUT,
        map_options=MapOptions(
            raw_layers=(1, 0),
            raw_heads=(3,),
            rollout_fusion=HeadFusion.MAX,
            rollout_start_layer=2,
            integration_points=30,
        ),
        attention=AttentionSelection(
            layers=(0,),
            heads=(1,),
            head_reduction=HeadReduction.MEAN,
            readout_only=False,
            tensor_type=TensorType.UINT8,
        ),
        check_level=CheckLevel.NONE,
        policy="strict",
        max_rows=7,
        seed=2**64 - 1,
        reported_label="positive",
        reported_score=0.0,
    )


def test_no_points_are_the_usual_ones() -> None:
    """Who names no number of points gets the default."""
    assert read(integrated_gradients=points(0)).map_options == MapOptions() == read().map_options


def test_unset_parts_of_an_attention_selection_take_their_defaults() -> None:
    """An empty selection means all layers and heads, the read-out query, in float32."""
    assert read(attention=selection()).attention == AttentionSelection()


@pytest.mark.parametrize("text", ["a\0b", "\u202eevil\u202c film", "né\u0301", "👩‍👩‍👧", "字"])
def test_odd_characters_are_read_as_they_are(text: str) -> None:
    """NUL, bidi controls, combining marks, emoji and scripts without spaces are text like any other."""
    assert read(text=common_pb2.TextInput(text=text)).input == TextInput(text=text)


@pytest.mark.parametrize("text", ["", " ", "\n\t\r ", "\u2003\u00a0"])
def test_a_text_without_words_is_refused(text: str) -> None:
    """Nothing can be classified in an empty text, whatever blanks it is made of."""
    assert violations(text=common_pb2.TextInput(text=text)) == {"text.text": "must contain at least one word"}


def test_a_word_is_read() -> None:
    """By its number or by a character, of texts and of ids; number 0 is a word, and no word is none."""
    for place, word in (({"index": 0}, WordRef(index=0)), ({"character": 7}, WordRef(character=7))):
        asked = common_pb2.WordRef(**place)
        assert read(text=common_pb2.TextInput(text="x", word=asked)).input == TextInput(text="x", word=word)
        ids = common_pb2.TokensInput(input_ids=[1], word=asked)
        assert read(tokens=ids).input == TokensInput(input_ids=(1,), word=word)
    assert read(text=common_pb2.TextInput(text="x")).input == TextInput(text="x")


def test_a_word_without_a_place_is_refused() -> None:
    """A word that is set and names none is a mistake, as are places in front of the text."""
    one_of = "exactly one of index and character must be set"
    assert violations(text=common_pb2.TextInput(text="x", word=common_pb2.WordRef())) == {"text.word": one_of}
    for place in ("index", "character"):
        asked = common_pb2.WordRef(**{place: -1})
        found = violations(tokens=common_pb2.TokensInput(input_ids=[1], word=asked))
        assert found == {f"tokens.word.{place}": "must not be negative"}


def test_an_empty_second_text_is_refused() -> None:
    """A pair whose second text is set but empty is a mistake, not a single text."""
    pair = common_pb2.TextInput(text="premise", text_pair="")
    assert violations(text=pair) == {"text.text_pair": "must contain at least one word"}


def test_long_texts_are_refused_with_their_length() -> None:
    """A text above the limit is refused, and its length and the limit are told."""
    pair = common_pb2.TextInput(text="x" * 51, text_pair="y" * 52)
    assert violations(text=pair) == {
        "text.text": "must have at most 50 characters, has 51",
        "text.text_pair": "must have at most 50 characters, has 52",
    }


def test_input_is_required() -> None:
    """A request without any input says which inputs there are."""
    with pytest.raises(InvalidInput) as raised:
        predict_request(explanation_service_pb2.PredictRequest(), limits=LIMITS, deadline=None, caller=ANYONE)
    (violation,) = raised.value.violations
    assert violation.field == "input"
    assert violation.description == "exactly one of text, tokens, image and pixels must be set"


def test_pictures_are_read_as_they_are() -> None:
    """A file is not looked at here; nor are pixels, but for their number."""
    assert read(image=common_pb2.ImageInput(data=b"anything")).input == ImageInput(data=b"anything")
    assert violations(image=common_pb2.ImageInput()) == {"image.data": "must not be empty"}
    tensor = common_pb2.Tensor(data_type=common_pb2.DATA_TYPE_FLOAT32, shape=[3, 1, 2], data=bytes(24))
    assert read(pixels=common_pb2.PixelsInput(values=tensor)).input == PixelsInput(shape=(3, 1, 2), data=bytes(24))


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"data_type": common_pb2.DATA_TYPE_FLOAT16}, "pixels.values.data_type"),
        ({"shape": [1, 3, 1, 2]}, "pixels.values.shape"),
        ({"shape": [3, 0, 2]}, "pixels.values.shape"),
        ({"shape": [-3, -1, 2]}, "pixels.values.shape"),
        ({"data": bytes(23)}, "pixels.values.data"),
        ({"shape": [2**40, 2**40, 2**40]}, "pixels.values.data"),
    ],
)
def test_pixels_must_be_what_their_shape_says(fields: dict[str, Any], path: str) -> None:
    """Nothing is read beyond the bytes that came."""
    good = {"data_type": common_pb2.DATA_TYPE_FLOAT32, "shape": [3, 1, 2], "data": bytes(24)}
    tensor = common_pb2.Tensor(**{**good, **fields})
    assert set(violations(pixels=common_pb2.PixelsInput(values=tensor))) == {path}


def test_ids_are_read_and_judged_one_by_one() -> None:
    """Each negative id is named by its position; no ids and too many ids are refused."""
    assert read(tokens=common_pb2.TokensInput(input_ids=[2, 7, 3])).input == TokensInput(input_ids=(2, 7, 3))
    assert set(violations(tokens=common_pb2.TokensInput(input_ids=[2, -1, 3, -9]))) == {
        "tokens.input_ids[1]",
        "tokens.input_ids[3]",
    }
    assert violations(tokens=common_pb2.TokensInput()) == {"tokens.input_ids": "must not be empty"}
    many = violations(tokens=common_pb2.TokensInput(input_ids=[1] * 51))
    assert many == {"tokens.input_ids": "must have at most 50 ids, has 51"}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"request_id": "x" * 129}, "request_id"),
        ({"request_id": "naïve"}, "request_id"),
        ({"request_id": "two\nlines"}, "request_id"),
        ({"model": "m" * 129}, "model"),
        ({"revision": "r" * 129}, "revision"),
        ({"policy": "p" * 129}, "policy"),
        ({"target": common_pb2.Target(class_index=-1)}, "target.class_index"),
        ({"target": common_pb2.Target(label="")}, "target.label"),
        ({"target": common_pb2.Target(label="l" * 1001)}, "target.label"),
        ({"target": common_pb2.Target(foil_class_index=-1)}, "target.foil_class_index"),
        ({"target": common_pb2.Target(foil_label="")}, "target.foil_label"),
        ({"threshold": common_pb2.Threshold(probability=0.5)}, "threshold.label"),
        ({"threshold": common_pb2.Threshold(label="a", probability=0.0)}, "threshold.probability"),
        ({"threshold": common_pb2.Threshold(label="a", probability=1.0)}, "threshold.probability"),
        ({"threshold": common_pb2.Threshold(label="a", probability=float("nan"))}, "threshold.probability"),
        ({"maps": [1, 99]}, "maps[1]"),
        ({"maps": [0]}, "maps[0]"),
        ({"integrated_gradients": points(129)}, "integrated_gradients.points"),
        ({"integrated_gradients": points(-1)}, "integrated_gradients.points"),
        ({"maps": [1] * (MAX_LIST_ENTRIES + 1)}, "maps"),
        ({"primary_map": 99}, "primary_map"),
        ({"raw_attention": explanation_pb2.RawAttentionOptions(layers=[0, -1])}, "raw_attention.layers[1]"),
        ({"raw_attention": explanation_pb2.RawAttentionOptions(heads=[2, 2])}, "raw_attention.heads"),
        ({"rollout": rollout(head_fusion=1)}, "rollout.head_fusion"),
        ({"rollout": rollout(head_fusion=77)}, "rollout.head_fusion"),
        ({"rollout": rollout(start_layer=-1)}, "rollout.start_layer"),
        ({"attention": selection(layers=[-1])}, "attention.layers[0]"),
        ({"attention": selection(heads=range(MAX_LIST_ENTRIES + 1))}, "attention.heads"),
        ({"attention": selection(head_reduction=9)}, "attention.head_reduction"),
        ({"attention": selection(queries=9)}, "attention.queries"),
        ({"attention": selection(data_type=9)}, "attention.data_type"),
        ({"check_level": 9}, "check_level"),
        ({"max_rows": 0}, "max_rows"),
        ({"max_rows": 101}, "max_rows"),
        ({"max_rows": 2**32 - 1}, "max_rows"),
        ({"reported_label": ""}, "reported_label"),
        ({"reported_score": -0.1}, "reported_score"),
        ({"reported_score": float("inf")}, "reported_score"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], path: str) -> None:
    """The caller learns which field is wrong, and only that one."""
    assert set(violations(**fields)) == {path}


def test_everything_wrong_is_reported_together() -> None:
    """A caller with several mistakes sees all of them at once."""
    found = violations(text=common_pb2.TextInput(text=" "), max_rows=0, maps=[99], check_level=8, request_id="ü")
    assert set(found) == {"text.text", "max_rows", "maps[0]", "check_level", "request_id"}


def test_the_number_of_violations_is_bounded() -> None:
    """A request with thousands of mistakes does not get thousands of complaints."""
    assert len(violations(tokens=common_pb2.TokensInput(input_ids=[-1] * 50))) == MAX_VIOLATIONS


def test_model_name_is_bounded() -> None:
    """GetModel refuses names that no model can have."""
    assert model_name(explanation_service_pb2.GetModelRequest(model="m")) == "m"
    with pytest.raises(InvalidInput):
        model_name(explanation_service_pb2.GetModelRequest(model="m" * 1000))


@given(
    text=st.text(min_size=1, max_size=50).filter(lambda text: text.strip()),
    maps=st.lists(st.sampled_from(MapKind), unique=True),
    level=st.none() | st.sampled_from(CheckLevel),
    seed=st.none() | st.integers(0, 2**64 - 1),
    max_rows=st.none() | st.integers(1, 100),
)
def test_what_is_sent_is_what_is_read(
    text: str, maps: list[MapKind], level: CheckLevel | None, seed: int | None, max_rows: int | None
) -> None:
    """Valid fields survive the wire unchanged."""
    message = explanation_pb2.ExplainRequest(
        text=common_pb2.TextInput(text=text),
        maps=[enums.MAP_KINDS[kind] for kind in maps],
        check_level=enums.CHECK_LEVELS[level] if level else explanation_pb2.CHECK_LEVEL_UNSPECIFIED,
        seed=seed,
        max_rows=max_rows,
    )
    sent = explanation_pb2.ExplainRequest.FromString(message.SerializeToString())
    request = explain_request(sent, limits=LIMITS, deadline=None, caller=ANYONE)
    assert (request.input, request.maps, request.check_level, request.seed, request.max_rows) == (
        TextInput(text=text),
        tuple(maps),
        level,
        seed,
        max_rows,
    )


def test_a_request_may_ask_for_no_record() -> None:
    """Unset means as the server is set up; a number of another version is refused."""
    choices = explanation_pb2.AuditChoice
    assert read().audit is AuditChoice.DEFAULT
    assert read(audit=choices.AUDIT_CHOICE_OFF).audit is AuditChoice.OFF
    assert violations(audit=9) == {"audit": "has no value 9 in this version"}


def test_names_and_what_was_acted_on_are_read() -> None:
    """A prediction and an explanation take the same names, and the label and score that the caller acted on."""
    said: dict[str, Any] = {"decision_ref": "d", "subject_ref": "s", "reported_label": "good", "reported_score": 0.5}
    predict = explanation_service_pb2.PredictRequest(text=TEXT, **said)
    explain = explanation_pb2.ExplainRequest(text=TEXT, **said)
    for request in (
        predict_request(predict, limits=LIMITS, deadline=None, caller=ANYONE),
        explain_request(explain, limits=LIMITS, deadline=None, caller=ANYONE),
    ):
        assert {name: getattr(request, name) for name in said} == said


def test_a_name_that_cannot_be_one_is_refused() -> None:
    """Too long, not printable, or of a person without a decision: the field is named, and the name not quoted."""
    message = explanation_service_pb2.PredictRequest(text=TEXT, decision_ref="a\nb", subject_ref="x" * 257)
    with pytest.raises(InvalidInput) as caught:
        predict_request(message, limits=LIMITS, deadline=None, caller=ANYONE)
    assert {violation.field for violation in caught.value.violations} == {"decision_ref", "subject_ref"}
    assert "xxx" not in str(caught.value)
    with pytest.raises(InvalidInput, match="decision_ref: required with subject_ref"):
        predict_request(
            explanation_service_pb2.PredictRequest(text=TEXT, subject_ref="s"),
            limits=LIMITS,
            deadline=None,
            caller=ANYONE,
        )
