"""Tampered maps are distributions, each tampered with as its name says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from rollcall.domain.distances import jsd_from_uniform
from rollcall.domain.maps import Floats
from rollcall.studies.flag.families.tampered import Tampering, tampered, unit_frequencies
from rollcall.verdict.policies import STANDARD

WEIGHTS = np.array([0.1, 0.5, 0.25, 0.15])
EFFECTS = np.array([0.2, 3.0, -4.0, 0.5])
OTHER = np.array([0.6, 0.4])
FREQUENCIES = np.array([6.0, 1.0, 2.0, 1.0])

weight = st.floats(0, 1e6, allow_subnormal=False)


@st.composite
def maps(draw: st.DrawFn, n: int) -> Floats:
    """Weights of n units, not all of them 0."""
    return np.array(draw(st.lists(weight, min_size=n, max_size=n).filter(lambda weights: sum(weights) > 1e-6)))


def made(seed: int = 0) -> dict[Tampering, list[float]]:
    """The tampered maps of the example, as lists."""
    found = tampered(WEIGHTS, effects=EFFECTS, other=OTHER, frequencies=FREQUENCIES, seed=seed)
    return {tampering: weights.tolist() for tampering, weights in found.items()}


@given(st.data(), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**64 - 1))
def test_every_tampered_map_is_a_distribution(data: st.DataObject, n: int, m: int, seed: int) -> None:
    """Not negative, and 1 in all, over as many units as the text has."""
    found = tampered(
        data.draw(maps(n)),
        effects=np.array(data.draw(st.lists(st.floats(-1e3, 1e3), min_size=n, max_size=n))),
        other=data.draw(maps(m)),
        frequencies=data.draw(maps(n)),
        seed=seed,
    )
    assert set(found) == set(Tampering)
    for weights in found.values():
        assert weights.shape == (n,)
        assert (weights >= 0).all()
        assert weights.sum() == pytest.approx(1)


def test_a_seed_makes_the_same_maps() -> None:
    """And another seed deals out and draws anew; what is not random stays."""
    assert made(3) == made(3)
    assert {tampering for tampering in Tampering if made(3)[tampering] != made(4)[tampering]} == {
        Tampering.SHUFFLED,
        Tampering.RANDOM,
    }


def test_shuffling_keeps_the_weights() -> None:
    """Only whose they are changes."""
    assert sorted(made()[Tampering.SHUFFLED]) == pytest.approx(sorted(WEIGHTS))


def test_reversing_gives_the_most_to_what_had_the_least() -> None:
    """It is the order by size that is turned, not the order in the text."""
    assert_allclose(made()[Tampering.REVERSED], [0.5, 0.1, 0.15, 0.25])


def test_the_unit_with_the_largest_effect_towards_the_target_is_left_out() -> None:
    """A larger effect against the target is not the one; the others keep their proportions."""
    assert_allclose(made()[Tampering.TOP_ZEROED], [0.2, 0, 0.5, 0.3])


def test_leaving_out_all_there_is_leaves_the_others_alike() -> None:
    """A map of one peak, on the very unit that is zeroed."""
    found = tampered(
        np.array([0.0, 1.0, 0.0]), effects=np.array([0.0, 1.0, 0.0]), other=OTHER, frequencies=np.ones(3), seed=0
    )
    assert_allclose(found[Tampering.TOP_ZEROED], [0.5, 0, 0.5])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([0.6, 0.4], [0.3, 0.3, 0.2, 0.2]),
        ([0.1, 0.1, 0.1, 0.1, 0.3, 0.1, 0.1, 0.1], [0.2, 0.2, 0.4, 0.2]),
        ([1.0], [0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_another_requests_map_is_stretched_to_the_length(other: list[float], expected: list[float]) -> None:
    """Where its weight lay in its text, it lies in this one."""
    found = tampered(WEIGHTS, effects=EFFECTS, other=np.array(other), frequencies=FREQUENCIES, seed=0)
    assert_allclose(found[Tampering.OTHER_REQUEST], expected)


def test_maps_without_a_model_are_what_their_names_say() -> None:
    """Position falls off, common words get more, and all alike is flat."""
    assert_allclose(made()[Tampering.POSITION], np.array([12, 6, 4, 3]) / 25)
    assert_allclose(made()[Tampering.WORD_FREQUENCY], FREQUENCIES / 10)
    assert_allclose(made()[Tampering.UNIFORM], 0.25)


@pytest.mark.parametrize("n", [16, 64])
def test_a_random_map_says_something(n: int) -> None:
    """Among sixteen units or more it is not so even that the verdict would pass it over as flat."""
    for seed in range(50):
        found = tampered(np.ones(n), effects=np.zeros(n), other=np.ones(n), frequencies=np.ones(n), seed=seed)
        assert jsd_from_uniform(found[Tampering.RANDOM]) >= STANDARD.flat_map_jsd


def test_units_are_counted_over_all_requests() -> None:
    """Whatever their case."""
    first, second = unit_frequencies([["The", "cat"], ["the", "dog", "the"]])
    assert first.tolist() == [3, 1]
    assert second.tolist() == [3, 1, 3]
