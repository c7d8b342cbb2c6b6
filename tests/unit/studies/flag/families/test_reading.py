"""What a model says, and where its maps lie."""

from __future__ import annotations

import pytest
import torch

from rollcall.studies.flag.families.reading import Reading, Rows, last_layer, over_content, rollout, secret_mass
from rollcall.training.pieces import MASK_ID

ROWS = Rows(
    ids=[[2, 7, 8, 3], [2, 9, 3]],
    words=[[0, 1, 2, 0], [0, 1, 0]],
    labels=[1, 0],
    secret=[[False, False, True, False], [False, True, False]],
)


def test_special_tokens_get_nothing() -> None:
    """The rest sums to 1, also where nothing but special tokens was attended to: then it is 0."""
    weights = over_content(torch.tensor([[0.5, 0.3, 0.1, 0.1], [1.0, 0.0, 0.0, 0.0]]), torch.tensor([[0, 1, 2, 0]] * 2))
    assert weights[0].tolist() == pytest.approx([0, 0.75, 0.25, 0])
    assert weights[1].tolist() == [0, 0, 0, 0]


def test_maps_are_those_of_the_read_out_token() -> None:
    """Last layer: the mean of its heads. Rollout: half of each layer is the token itself."""
    first = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    second = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    layers = [torch.stack((first, first), dim=1), torch.stack((first, second), dim=1)]
    assert last_layer(layers).tolist() == [[0.5, 0.5]]
    # first layer: (1 + swap) / 2; second: (1 + (swap + 1) / 2) / 2; their product's first row is half and half
    assert rollout(layers)[0].tolist() == pytest.approx([0.5, 0.5])


def test_the_share_on_secret_tokens_is_a_mean_over_texts() -> None:
    """Texts count alike, long or short."""
    maps = [torch.tensor([0.0, 0.8, 0.2, 0.0]), torch.tensor([0.0, 1.0, 0.0])]
    assert secret_mass(maps, ROWS) == pytest.approx(0.6)


def test_masking_takes_the_secret_tokens_alone() -> None:
    """The rows themselves stay as they are."""
    assert ROWS.masked().ids == [[2, 7, MASK_ID, 3], [2, MASK_ID, 3]]
    assert ROWS.ids == [[2, 7, 8, 3], [2, 9, 3]]


def test_accuracy_is_the_share_of_texts_given_their_label() -> None:
    """One of two."""
    reading = Reading(logits=torch.tensor([[0.0, 1.0], [0.0, 1.0]]), attention=[], rollout=[])
    assert reading.accuracy(ROWS) == 0.5
