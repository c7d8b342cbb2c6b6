"""The kinds of maps, and how large an answer with attention would be."""

from __future__ import annotations

import pytest

from rollcall.domain.maps import (
    ALWAYS_RETURNED,
    MAX_ATTENTION_BYTES,
    REWIRED_MAPS,
    AttentionSelection,
    HeadReduction,
    MapKind,
    TensorType,
    attention_bytes,
)


def test_what_is_made_of_attention_and_norms_does_not_know_about_the_class() -> None:
    """Maps of attention and of norms are the same whichever class is asked about; a reader should know."""
    blind = {kind for kind in MapKind if not kind.class_specific}
    assert blind == {kind for kind in MapKind if kind.attention_only} | {MapKind.NORM_ROLLOUT}


def test_rewiring_concerns_maps_made_of_attention_alone() -> None:
    """Values and gradients are more than attention."""
    assert {kind for kind in MapKind if kind.attention_only} == {*REWIRED_MAPS, MapKind.ATTENTION_FLOW}


def test_raw_attention_and_rollout_are_always_there() -> None:
    """Every answer carries them with their flags, whichever map is primary."""
    assert ALWAYS_RETURNED == (MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT)


@pytest.mark.parametrize(
    ("selection", "size"),
    [
        (AttentionSelection(), 12 * 12 * 128 * 4),
        (AttentionSelection(readout_only=False), 12 * 12 * 128 * 128 * 4),
        (AttentionSelection(layers=(0, 11), heads=(3,)), 2 * 128 * 4),
        (AttentionSelection(head_reduction=HeadReduction.MEAN, readout_only=False), 12 * 128 * 128 * 4),
        (AttentionSelection(heads=(1, 2, 3), head_reduction=HeadReduction.MAX), 12 * 128 * 4),
        (AttentionSelection(tensor_type=TensorType.FLOAT16), 12 * 12 * 128 * 2),
        (AttentionSelection(tensor_type=TensorType.UINT8), 12 * 12 * 128),
    ],
)
def test_the_size_of_an_attention_tensor_is_known_beforehand(selection: AttentionSelection, size: int) -> None:
    """A selection that would not fit into a reply is refused before anything is computed."""
    assert attention_bytes(selection, layers=12, heads=12, length=128) == size


def test_the_largest_attention_leaves_room_in_a_default_message() -> None:
    """Clients accept 4 MiB by default."""
    assert MAX_ATTENTION_BYTES == 3.5 * 2**20
