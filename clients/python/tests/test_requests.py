"""Arguments arrive in the right fields, and what was left out stays unset."""

from __future__ import annotations

import pytest

from rollcall_client import (
    AttentionSelection,
    AuditChoice,
    CheckLevel,
    DataType,
    HeadReduction,
    IntegratedGradientsOptions,
    MapKind,
    QuerySelection,
    RawAttentionOptions,
    RolloutOptions,
    Threshold,
)
from rollcall_client._requests import explain_request, predict_request, text_input, tokens_input
from rollcall_client._v1 import common_pb2, explanation_pb2, explanation_service_pb2


def test_a_bare_text_sets_nothing_else() -> None:
    """The service's defaults are the service's business."""
    expected = explanation_pb2.ExplainRequest(request_id="r", text=common_pb2.TextInput(text="a text"))
    assert explain_request(text_input("a text", None), request_id="r") == expected
    assert not expected.HasField("target")


def test_an_empty_second_text_is_not_no_second_text() -> None:
    """The service must be able to refuse an empty one."""
    assert text_input("a", "").HasField("text_pair")
    assert not text_input("a", None).HasField("text_pair")


def test_a_word_is_named_by_number_or_character() -> None:
    """Word 0 is a word; by both at once none is meant."""
    assert text_input("a b", None, 0).word == common_pb2.WordRef(index=0)
    assert text_input("a b", None, None, 2).word == common_pb2.WordRef(character=2)
    assert tokens_input([1, 5, 2], 0).word.WhichOneof("place") == "index"
    assert not text_input("a b", None).HasField("word")
    assert not tokens_input([1, 5, 2]).HasField("word")
    with pytest.raises(ValueError, match="not by both"):
        text_input("a b", None, 1, 2)


def test_a_class_by_index_zero_is_set() -> None:
    """Zero is a class, not an absence."""
    request = predict_request(tokens_input([5]), request_id="r", target=0, foil="spam")
    assert request == explanation_service_pb2.PredictRequest(
        request_id="r",
        tokens=common_pb2.TokensInput(input_ids=[5]),
        target=common_pb2.Target(class_index=0, foil_label="spam"),
    )
    assert request.target.WhichOneof("target") == "class_index"


def test_every_option_has_its_field() -> None:
    """All fields of the wire can be reached."""
    request = explain_request(
        text_input("a", "b"),
        request_id="r",
        model="m",
        revision="1",
        target="spam",
        foil=2,
        threshold=Threshold(label="spam", probability=0.9),
        maps=(MapKind.RAW_ATTENTION,),
        primary_map=MapKind.NORM_ROLLOUT,
        level=CheckLevel.NONE,
        policy="strict",
        max_rows=0,
        seed=0,
        attention=AttentionSelection(
            layers=(1,),
            heads=(2,),
            head_reduction=HeadReduction.MAX,
            queries=QuerySelection.ALL,
            data_type=DataType.UINT8,
        ),
        raw_attention=RawAttentionOptions(layers=(3,), heads=(4,)),
        rollout=RolloutOptions(head_fusion=HeadReduction.MAX, start_layer=5),
        integrated_gradients=IntegratedGradientsOptions(points=7),
        reported_label="ham",
        reported_score=0.0,
        audit=AuditChoice.OFF,
        decision_ref="d",
        subject_ref="s",
    )
    unset = {field.name for field in request.DESCRIPTOR.fields} - {field.name for field, _ in request.ListFields()}
    assert unset == {"tokens", "image", "pixels"}
    assert request.attention == explanation_pb2.AttentionSelection(
        layers=[1],
        heads=[2],
        head_reduction=explanation_pb2.HEAD_REDUCTION_MAX,
        queries=explanation_pb2.QUERY_SELECTION_ALL,
        data_type=common_pb2.DATA_TYPE_UINT8,
    )
    assert request.rollout == explanation_pb2.RolloutOptions(
        head_fusion=explanation_pb2.HEAD_REDUCTION_MAX, start_layer=5
    )
    assert request.integrated_gradients.points == 7
