"""Laws of the numbers behind a flag: distances, margins, alignment, effects, rollout."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose

from rollcall.attribution.rollout import attention_rollout
from rollcall.attribution.units import to_units
from rollcall.checks.alignment import alignment_value, estimate_effects, plan_looks
from rollcall.domain.decision import Decision, Task, probabilities, total_variation
from rollcall.domain.distances import jensen_shannon, jsd_from_uniform
from rollcall.domain.maps import Floats
from rollcall.verdict.policies import STANDARD
from tests.subjects import encoding

SIZES = st.integers(2, 12)
REALS = st.floats(-50, 50, allow_subnormal=False).map(lambda x: round(x, 3))


@st.composite
def distributions(draw: st.DrawFn, count: int) -> Floats:
    """Distributions [count, n], with zeros now and then."""
    n = draw(SIZES)
    masses = draw(hnp.arrays(np.float64, (count, n), elements=st.integers(0, 100).map(float)))
    assume((masses.sum(axis=1) > 0).all())
    return np.asarray(masses / masses.sum(axis=1, keepdims=True))


@st.composite
def vectors(draw: st.DrawFn, count: int) -> Floats:
    """Numbers [count, n]."""
    return draw(hnp.arrays(np.float64, (count, draw(SIZES)), elements=REALS))


@given(distributions(2))
def test_distances_between_maps_obey_their_bounds(pair: Floats) -> None:
    """Symmetric, 0 to ln 2, at most ln 2 times the total variation, and at least half its square."""
    p, q = pair
    jsd, tvd = jensen_shannon(p, q), total_variation(p, q, Task.SINGLE_LABEL)
    assert jsd == jensen_shannon(q, p)
    assert -1e-12 <= jsd <= math.log(2) + 1e-12
    assert 0 <= tvd <= 1 + 1e-12
    assert jsd <= math.log(2) * tvd + 1e-12
    assert tvd**2 <= 2 * jsd + 1e-12
    assert jensen_shannon(p, p) == 0


@given(distributions(1))
def test_distance_from_uniform_ignores_the_order(one: Floats) -> None:
    """Which words a map names does not change how flat it is."""
    (p,) = one
    assert jsd_from_uniform(p) == jsd_from_uniform(p[::-1]) or math.isclose(
        jsd_from_uniform(p), jsd_from_uniform(p[::-1]), abs_tol=1e-12
    )


@given(vectors(1), st.sampled_from(Task), st.integers(0, 1))
def test_margins_are_log_odds(one: Floats, task: Task, target: int) -> None:
    """The margin is above 0 exactly where the target has more than half of the probability."""
    (logits,) = one
    p = probabilities(logits, task)[target]
    margin = Decision(task=task, target=target).margin(logits)
    assert math.isclose(1 / (1 + math.exp(-margin)), p, rel_tol=1e-9, abs_tol=1e-15)
    assert probabilities(logits, task).min() >= 0


@given(vectors(1), REALS)
def test_a_common_shift_of_the_logits_changes_no_decision(one: Floats, shift: float) -> None:
    """Only differences between logits mean anything in a single-label model."""
    (logits,) = one
    for decision in (Decision(task=Task.SINGLE_LABEL, target=0), Decision(task=Task.SINGLE_LABEL, target=0, foil=1)):
        assert math.isclose(decision.margin(logits + shift), decision.margin(logits), abs_tol=1e-9)


@given(vectors(2), st.booleans())
def test_a_flip_is_mutual(pair: Floats, by_sign: bool) -> None:  # noqa: FBT001 - drawn
    """If one answer differs from another, the other differs from the one; nothing differs from itself."""
    decision = Decision(task=Task.SINGLE_LABEL, target=0, by_sign=by_sign)
    base, row = pair
    assert decision.flipped(base, row) == decision.flipped(row, base)
    assert not decision.flipped(base, base)


@given(vectors(2))
def test_alignment_lies_between_minus_one_and_one(pair: Floats) -> None:
    """No map does better than the best use of its weights, or worse than the worst."""
    value = alignment_value(np.abs(pair[0]), pair[1])
    assert value is None or -1 - 1e-6 <= value <= 1 + 1e-6


@given(vectors(2), st.floats(0.1, 10), st.floats(0.1, 10), REALS, REALS)
def test_alignment_ignores_units_of_measurement(
    pair: Floats, scale: float, other: float, shift: float, offset: float
) -> None:
    """A stays the same when weights or effects are rescaled or shifted: only their pattern counts."""
    weights, effects = pair
    value = alignment_value(weights, effects)
    assume(value is not None)
    assert value is not None
    again = alignment_value(weights * scale + shift, effects * other + offset)
    assert again is not None
    assert math.isclose(value, again, abs_tol=1e-5)


@given(vectors(1), st.data())
def test_alignment_is_one_exactly_for_the_order_of_the_effects(one: Floats, data: st.DataObject) -> None:
    """Weights sorted as the effects give 1, sorted against them -1."""
    (effects,) = one
    weights = np.sort(np.array(data.draw(st.permutations(range(1, len(effects) + 1))), dtype=np.float64))
    assume(np.ptp(effects) > 0)
    sorted_along = np.empty(len(effects))
    sorted_along[np.argsort(effects, kind="stable")] = weights
    for sign in (1, -1):
        value = alignment_value(sorted_along, sign * effects)
        assert value is not None
        assert math.isclose(value, sign, abs_tol=1e-9)


@given(st.integers(2, 20), st.integers(0, 2**64 - 1), st.data())
def test_effects_do_not_depend_on_the_order_of_the_rows(n: int, seed: int, data: st.DataObject) -> None:
    """Rows may come back in any order, whatever else is in the batch: the estimate is the same."""
    look, *_ = plan_looks(n, seed, STANDARD)
    rng = np.random.default_rng(seed)
    margins = rng.normal(size=len(look.removed))
    order = np.array(data.draw(st.permutations(range(len(margins)))))
    plain = estimate_effects(look.removed, look.operators, margins)
    shuffled = estimate_effects(look.removed[order], tuple(look.operators[i] for i in order), margins[order])
    assert plain is not None
    assert shuffled is not None
    assert plain.ridge_lambda == shuffled.ridge_lambda
    assert_allclose(plain.effects, shuffled.effects, atol=1e-9)
    assert 0 <= plain.reliability <= 1


@given(st.integers(2, 80), st.integers(0, 2**64 - 1))
def test_looks_are_whole_and_balanced(n: int, seed: int) -> None:
    """Every look removes some words and keeps some, each operator as often as the other."""
    for look in plan_looks(n, seed, STANDARD):
        sizes = look.removed.sum(axis=1)
        assert ((sizes > 0) & (sizes < n)).all()
        assert look.operators.count(look.operators[0]) * 2 == len(look.operators) == len(look.removed)


@given(st.integers(1, 6), st.integers(2, 7), st.integers(0, 10**6))
def test_rollout_rows_sum_to_one(layers: int, tokens: int, seed: int) -> None:
    """All of the read-out token's origin is accounted for, from any start layer, and no share is negative."""
    maps = np.random.default_rng(seed).dirichlet(np.full(tokens, 0.3), size=(layers, 1, tokens))
    for start in range(layers):
        row = attention_rollout([*torch.from_numpy(maps)], seed % tokens, start)[0].numpy()
        assert math.isclose(row.sum(), 1, abs_tol=1e-12)
        assert row.min() >= 0


@given(distributions(1))
def test_words_and_dropped_mass_account_for_everything(one: Floats) -> None:
    """A map over words sums to one, and what was dropped is what lay on special tokens."""
    (weights,) = one
    assume(len(weights) > 2)
    scores, dropped = to_units(weights, encoding(len(weights) - 2))
    assert math.isclose(scores.sum(), 1, abs_tol=1e-12)
    assert math.isclose(dropped, weights[0] + weights[-1], abs_tol=1e-12)
