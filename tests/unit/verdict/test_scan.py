"""Replays of recorded looks, and the widths that keep a promise: against slow references and on fresh populations."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from mapie.risk_control.methods import (
    compute_hoeffding_bentkus_p_value,
    find_best_predict_param,
    get_r_hat_plus,
)
from scipy.stats import binom

from rollcall.domain.verdicts import CheckOutcome, Flag, Reason
from rollcall.verdict.decide import MapEvidence
from rollcall.verdict.policies import STANDARD
from rollcall.verdict.scan import (
    CS,
    Recorded,
    Replay,
    Step,
    outcome,
    promises,
    recommended,
    replay,
    replay_default,
)
from rollcall.verdict.truth import Truth

LOOKED = MapEvidence(
    finite=True,
    instrument=CheckOutcome.SUPPORTS,
    reach=CheckOutcome.SUPPORTS,
    flat=False,
    alignment=0.6,
    width=0.0,
    reliability=0.9,
    calibrated=False,
    may_omit_top_effect=False,
    rewiring=CheckOutcome.SKIPPED,
    operators_disagree=False,
    last=False,
    cut=False,
)


def steps(*alignments: float, reliability: float = 0.9) -> tuple[Step, ...]:
    """One map's looks with these A, 16 removals each."""
    return tuple(
        Step(
            evidence=replace(LOOKED, alignment=a, reliability=reliability, last=i == len(alignments) - 1),
            removals=16 * (i + 1),
            width_index=i,
        )
        for i, a in enumerate(alignments)
    )


def population(n: int, seed: int, noise: float = 0.18) -> list[Recorded]:
    """Inputs with two maps whose A scatters around A*, less with every look."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        truths = {"good": random.uniform(0.3, 1.0), "any": random.uniform(-1.0, 1.0)}
        seen = {
            name: steps(*(float(a + noise / (1 + i) * random.normal()) for i in range(3))) for name, a in truths.items()
        }
        known = {name: Truth(alignment=a, omits_top_effect=False) for name, a in truths.items()}
        found.append(Recorded(steps=seen, truths=known))
    return found


def test_the_first_flag_that_stands_is_final() -> None:
    """A look that decides ends the matter, whatever later looks would have said."""
    found = outcome(steps(0.95, 0.1, 0.1), (0.4, 0.2, 0.1), STANDARD, calibrated=False)
    assert (found.ruling.flag, found.removals) == (Flag.FAITHFUL, 16)
    assert found.strength == pytest.approx(0.55)
    later = outcome(steps(0.7, 0.69, 0.1), (0.4, 0.1, 0.1), STANDARD, calibrated=False)
    assert (later.ruling.flag, later.removals) == (Flag.FAITHFUL, 32)
    never = outcome(steps(0.5, 0.5, 0.5), (0.4, 0.2, 0.1), STANDARD, calibrated=False)
    assert (never.ruling.reason, never.removals) == (Reason.LOW_POWER, 48)


def test_looks_that_were_cut_cannot_be_replayed() -> None:
    """A trail without an end has no flag at every width; it is not taken for one that has."""
    cut = steps(0.5, 0.5, 0.5)[:2]
    with pytest.raises(ValueError, match="run to the end"):
        outcome(cut, (0.4, 0.2, 0.1), STANDARD, calibrated=False)


def test_a_replay_is_one_outcome_after_the_other() -> None:
    """Every cell is what that width would have given; the default is the policy's own widths."""
    records = population(60, seed=1, noise=0.6)
    found, default = replay(records, "good", STANDARD), replay_default(records, "good", STANDARD)
    for i, record in enumerate(records):
        for j in range(len(CS)):
            one = outcome(record.steps["good"], [CS[j] * step for step in STANDARD.path], STANDARD, calibrated=True)
            assert found.faithful[i, j] == (one.ruling.flag is Flag.FAITHFUL)
            assert found.unfaithful[i, j] == (one.ruling.flag is Flag.UNFAITHFUL)
            assert found.far[i, j] == record.truths["good"].far_from(one.ruling.flag)
            assert found.wrong[i, j] == record.truths["good"].contradicts(one.ruling.flag, STANDARD)
            assert (found.removals[i, j], found.strength[i, j]) == (one.removals, one.strength)
        usual = outcome(record.steps["good"], STANDARD.widths, STANDARD, calibrated=False)
        assert default.faithful[i, 0] == (usual.ruling.flag is Flag.FAITHFUL)
    assert found.of(np.array([3, 5])).wrong.tolist() == found.wrong[[3, 5]].tolist()


def test_the_recommended_map_is_the_faithful_one_with_the_most_to_spare() -> None:
    """Map by map and width by width, by hand; no map's width goes below its floor."""
    records = population(60, seed=2)
    replays = {name: replay(records, name, STANDARD) for name in ("good", "any")}
    floors = {"good": 0.05, "any": 0.1}
    found = recommended(replays, floors)
    for i in range(len(records)):
        for j, c in enumerate(CS):
            at = {name: CS.index(max(c, floors[name])) for name in replays}
            able = [name for name in replays if replays[name].faithful[i, at[name]]]
            best = max(able, key=lambda name: replays[name].strength[i, at[name]], default=None)
            assert found.faithful[i, j] == (best is not None)
            assert found.wrong[i, j] == (best is not None and replays[best].wrong[i, at[best]])
            assert found.far[i, j] == (best is not None and replays[best].far[i, at[best]])
            if best is not None:
                assert found.strength[i, j] == replays[best].strength[i, at[best]]


def test_maps_without_a_floor_are_not_recommended() -> None:
    """A map that keeps no promise is not chosen, however strong it looks."""
    records = population(30, seed=3)
    replays = {name: replay(records, name, STANDARD) for name in ("good", "any")}
    alone = recommended(replays, {"any": 0.0})
    assert alone.faithful.tolist() == replays["any"].faithful.tolist()


def table(wrong: list[list[int]]) -> Replay:
    """A replay of which only the wrong flags matter, the same at all other widths as at the last that is given."""
    filled = np.array([row + row[-1:] * (len(CS) - len(row)) for row in wrong], dtype=np.bool_)
    nothing = np.zeros(filled.shape)
    return Replay(
        faithful=filled,
        unfaithful=~filled,
        wrong=filled,
        far=filled,
        strength=nothing,
        removals=nothing.astype(np.int64),
    )


def test_an_input_that_was_wrong_at_a_wider_width_stays_wrong() -> None:
    """With several looks the plain loss is not monotone; the scan must not go past a width that failed."""
    found = table([[0, 1, 0]] * 10 + [[0, 0, 0]] * 90)
    assert promises(found, alpha=0.05, confidence=0.9).expected.c == CS[0]
    assert found.ever_wrong[0].tolist() == [False] + [True] * (len(CS) - 1)


@pytest.mark.parametrize(("n", "wrong", "alpha"), [(200, 5, 0.05), (200, 9, 0.05), (300, 9, 0.05), (120, 0, 0.02)])
def test_both_promises_are_the_formulas(n: int, wrong: int, alpha: float) -> None:
    """In expectation (k + 1) / (n + 1) <= alpha; with confidence, so few would be rare were more than alpha wrong."""
    found = table([[0, 1]] * wrong + [[0, 0]] * (n - wrong))
    both = promises(found, alpha=alpha, confidence=0.9)
    assert (both.expected.c == CS[-1]) == ((wrong + 1) / (n + 1) <= alpha)
    assert (both.confident.c == CS[-1]) == bool(binom.cdf(wrong, n, alpha) <= 0.1)
    assert both.confident.inputs == n


@pytest.mark.parametrize("seed", range(20))
def test_both_promises_are_those_of_mapie(seed: int) -> None:
    """MAPIE's conformal risk control, and its learn-then-test p-values for losses of 0 or 1, stop at the same."""
    random = np.random.default_rng(seed)
    n, alpha = int(random.integers(60, 400)), float(random.choice([0.02, 0.05, 0.1]))
    falls_at = random.integers(0, 12 * len(CS), n)
    found = table((np.arange(len(CS)) >= falls_at[:, None]).astype(int).tolist())
    both = promises(found, alpha=alpha, confidence=0.9)
    risk, bound = get_r_hat_plus(found.ever_wrong.astype(float), np.array(CS), "crc", None, None, None)
    if bound[0] < alpha:
        assert both.expected.c == find_best_predict_param(np.array(CS), bound, np.array([alpha]))[0]
    else:
        assert both.expected.c is None
    rejected = compute_hoeffding_bentkus_p_value(risk, n, alpha, binary=True)[:, 0] <= 0.1
    last = int(np.argmin(rejected)) - 1 if not rejected.all() else len(CS) - 1
    assert both.confident.c == (CS[last] if last >= 0 else None)


def test_too_few_inputs_promise_nothing() -> None:
    """Even without a single wrong flag, ten inputs cannot promise five per cent."""
    both = promises(table([[0]] * 10), alpha=0.05, confidence=0.9)
    assert (both.expected.c, both.confident.c) == (None, None)


def test_wider_widths_are_never_more_often_wrong() -> None:
    """The number that the promise counts falls with the width."""
    counts = replay(population(200, seed=4), "any", STANDARD).ever_wrong.sum(axis=0).tolist()
    assert all(a <= b for a, b in pairwise(counts))


@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_the_promises_hold_on_fresh_inputs(alpha: float) -> None:
    """Over many calibrations from one population: the mean error is at most alpha, and it exceeds alpha in 10 %."""
    everything = replay(population(2000, seed=5, noise=0.6), "any", STANDARD)
    truth = everything.wrong.mean(axis=0)
    random = np.random.default_rng(6)
    realised: dict[str, list[float]] = {"expected": [], "confident": []}
    for _ in range(300):
        both = promises(everything.of(random.choice(2000, 200, replace=False)), alpha=alpha, confidence=0.9)
        for name, found in (("expected", both.expected), ("confident", both.confident)):
            realised[name].append(0.0 if found.c is None else float(truth[CS.index(found.c)]))
    assert truth[-1] > alpha  # without widths the promise would not hold: there is something to keep
    assert np.mean(realised["expected"]) <= alpha * 1.02
    broken = int(np.sum(np.array(realised["confident"]) > alpha))
    assert binom.sf(broken - 1, 300, 0.1) > 1e-3
    assert max(realised["confident"]) > 0
