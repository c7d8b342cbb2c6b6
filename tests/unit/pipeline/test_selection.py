"""Selections: layers, heads and sizes that a model has, and those that it has not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollcall.domain.errors import InvalidInput
from rollcall.domain.maps import MAX_ATTENTION_BYTES, AttentionSelection, HeadReduction, MapOptions, TensorType
from rollcall.pipeline.selection import check_attention_size, check_layers_and_heads
from tests.harness import ask
from tests.unit.pipeline.cards import PLAIN, card

TEXT = "a film"


def fields_refused(**fields: Any) -> list[str]:  # noqa: ANN401 - the fields of ExplainRequest
    """Names of the fields that a request gets wrong, of a model with 3 layers and 4 heads."""
    try:
        check_layers_and_heads(ask(TEXT, **fields), PLAIN)
    except InvalidInput as refusal:
        return [violation.field for violation in refusal.violations]
    return []


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (MapOptions(raw_layers=(0, 1, 2), raw_heads=(3, 0), rollout_start_layer=2), None),
        (MapOptions(raw_layers=(3,)), "raw_attention.layers"),
        (MapOptions(raw_layers=(-1,)), "raw_attention.layers"),
        (MapOptions(raw_layers=(1, 1)), "raw_attention.layers"),
        (MapOptions(raw_heads=(4,)), "raw_attention.heads"),
        (MapOptions(raw_heads=(2, 0, 2)), "raw_attention.heads"),
        (MapOptions(rollout_start_layer=3), "rollout.start_layer"),
        (MapOptions(rollout_start_layer=-1), "rollout.start_layer"),
    ],
)
def test_options_of_maps_name_layers_and_heads_that_exist(options: MapOptions, field: str | None) -> None:
    """A layer or head that the model lacks, or that is named twice, is refused by field."""
    assert fields_refused(map_options=options) == ([field] if field else [])


@pytest.mark.parametrize(
    ("selection", "field"),
    [
        (AttentionSelection(layers=(2,), heads=(3,)), None),
        (AttentionSelection(layers=(9,)), "attention.layers"),
        (AttentionSelection(heads=(4,)), "attention.heads"),
        (AttentionSelection(heads=(1, 1)), "attention.heads"),
    ],
)
def test_attention_is_selected_from_what_there_is(selection: AttentionSelection, field: str | None) -> None:
    """So is a layer or head of the attention that somebody wants to see."""
    assert fields_refused(attention=selection) == ([field] if field else [])


def test_all_mistakes_are_reported_together() -> None:
    """A caller fixes the request once."""
    wrong = fields_refused(
        map_options=MapOptions(raw_layers=(5,), raw_heads=(1, 1)), attention=AttentionSelection(layers=(7,))
    )
    assert sorted(wrong) == ["attention.layers", "raw_attention.heads", "raw_attention.layers"]


def test_attention_must_fit_into_what_is_sent() -> None:
    """What would not fit is refused before it is computed, with advice; the largest that fits is not."""
    large = card(layers=12, heads=12)
    whole = ask(TEXT, attention=AttentionSelection(readout_only=False))
    longest = int((MAX_ATTENTION_BYTES / (12 * 12 * 4)) ** 0.5)
    check_attention_size(whole, large, longest)
    with pytest.raises(InvalidInput, match="READOUT queries, FLOAT16 or UINT8, or ask ExplainStream") as refusal:
        check_attention_size(whole, large, longest + 1)
    assert refusal.value.violations[0].field == "attention"
    check_attention_size(replace(whole, max_attention_bytes=2 * MAX_ATTENTION_BYTES), large, longest + 1)
    for smaller in (
        AttentionSelection(),
        AttentionSelection(readout_only=False, tensor_type=TensorType.FLOAT16),
        AttentionSelection(readout_only=False, head_reduction=HeadReduction.MEAN),
        AttentionSelection(readout_only=False, layers=(0, 1)),
    ):
        check_attention_size(ask(TEXT, attention=smaller), large, longest + 1)
    check_attention_size(ask(TEXT), large, 10**6)
