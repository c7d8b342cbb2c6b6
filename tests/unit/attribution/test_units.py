"""From tokens to words."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rollcall.attribution.units import positive_units, to_units, unit_sums
from rollcall.domain.inputs import Encoding, Unit
from tests.subjects import NAN, encoding


def pieces(*unit_of_token: int) -> Encoding:
    """An input whose tokens belong to these words; -1 is a special token."""
    n = max(unit_of_token) + 1
    return Encoding(
        input_ids=np.arange(len(unit_of_token)),
        type_ids=np.zeros(len(unit_of_token), dtype=np.int64),
        unit_of_token=np.array(unit_of_token),
        units=tuple(Unit(text="", token_start=0, token_end=0, char_start=0, char_end=0, segment=0) for _ in range(n)),
        tokens_total=len(unit_of_token),
        grouped=False,
    )


def test_the_pieces_of_a_word_add_up_and_special_tokens_are_dropped() -> None:
    """A word's weight is the sum of its pieces; what lay on special tokens is reported, the rest renormalised."""
    scores, dropped = to_units(np.array([0.4, 0.1, 0.2, 0.1, 0.2]), pieces(-1, 0, 0, 1, -1))
    assert_allclose(scores, [0.75, 0.25])
    assert dropped == pytest.approx(0.6)


def test_a_pair_keeps_its_sides() -> None:
    """Separators in the middle are special, too."""
    scores, dropped = to_units(np.array([0.1, 0.2, 0.3, 0.2, 0.2]), pieces(-1, 0, -1, 1, -1))
    assert_allclose(scores, [0.5, 0.5])
    assert dropped == pytest.approx(0.6)


def test_weights_need_not_be_normalised() -> None:
    """A gradient map has any total; as a map it sums to one."""
    scores, dropped = to_units(np.array([5.0, 10.0, 30.0, 5.0]), pieces(-1, 0, 1, -1))
    assert_allclose(scores, [0.25, 0.75])
    assert dropped == pytest.approx(0.2)


@pytest.mark.parametrize("weights", [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.5]])
def test_a_map_that_names_no_word_says_nothing(weights: list[float]) -> None:
    """All weight on special tokens, or none at all: the map is uniform and all of its mass was dropped."""
    scores, dropped = to_units(np.array(weights), encoding(2))
    assert_allclose(scores, [0.5, 0.5])
    assert dropped == 1


def test_not_a_number_stays_visible() -> None:
    """A NaN is never summed away."""
    scores, _ = to_units(np.array([0.5, NAN, 0.2, 0.3]), encoding(2))
    assert np.isnan(scores).all()


SIGNED = pieces(-1, 0, 0, 1, 2, -1)


def test_what_speaks_against_the_target_gets_nothing() -> None:
    """Pieces of a word cancel before anything is dropped; words that speak against the target have weight 0."""
    scores, dropped = positive_units(np.array([0.5, 3.0, -1.0, -4.0, 2.0, -0.5]), SIGNED)
    assert_allclose(scores, [0.5, 0.0, 0.5])
    assert dropped == pytest.approx(0.5 / 4.5)


def test_sums_keep_their_signs() -> None:
    """Signed amounts of words are sums over their pieces; special tokens are no words."""
    assert_allclose(unit_sums(np.array([9.0, 3.0, -1.0, -4.0, 2.0, 9.0]), SIGNED), [2.0, -4.0, 2.0])


@pytest.mark.parametrize(("special", "dropped"), [(0.0, 0.0), (2.0, 1.0)])
def test_nothing_for_the_target_is_no_map(special: float, dropped: float) -> None:
    """Where nothing speaks for the target the map is uniform, which the verdict calls flat."""
    scores, share = positive_units(np.array([special, -1.0, 0.0, -2.0, 0.0, 0.0]), SIGNED)
    assert_allclose(scores, 1 / 3)
    assert share == dropped


def test_not_a_number_stays_visible_with_signs() -> None:
    """A NaN is never clipped away."""
    scores, _ = positive_units(np.array([0.0, NAN, 1.0, 1.0, 1.0, 0.0]), SIGNED)
    assert np.isnan(scores).any()
