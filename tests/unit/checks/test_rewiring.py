"""How probable is it that very different attention gives the same answer?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binomtest

from rollcall.checks.rewiring import RewiringFinding, judge_rewiring, lower_bound, rewiring_rows
from rollcall.domain.distances import jensen_shannon
from rollcall.domain.maps import MapKind
from rollcall.domain.rows import AttentionEdit, RowResult
from rollcall.domain.seeds import derived_seed
from rollcall.domain.verdicts import CheckKind, CheckOutcome
from tests.subjects import NAN, SEED, answer, subject, unit_map

SCORES = np.array([0.7, 0.1, 0.1, 0.1])
FAR, FARTHER, NEAR = np.array([0.1, 0.7, 0.1, 0.1]), np.array([0.0, 0.0, 0.0, 1.0]), np.array([0.6, 0.2, 0.1, 0.1])
SAME, CHANGED = 2.0, -2.0


def draw(margin: float, scores: np.ndarray = FAR) -> RowResult:
    """A permuted row: what it answered, and the map recomputed under it."""
    return answer(margin, maps={MapKind.RAW_ATTENTION: scores})


def judge(*draws: RowResult, kind: MapKind = MapKind.RAW_ATTENTION) -> tuple[CheckOutcome, float | None]:
    """Outcome and bound for a map."""
    result = finding_of(draws, kind).result
    return result.outcome, result.value


def finding_of(draws: Sequence[RowResult], kind: MapKind = MapKind.RAW_ATTENTION) -> RewiringFinding:
    """What is found for a map."""
    about = subject(4)
    return judge_rewiring(about, unit_map(SCORES, kind), draws, about.same(draws))


@pytest.mark.parametrize("trials", [5, 8, 12])
@pytest.mark.parametrize("confidence", [0.9, 0.975])
def test_the_bound_is_clopper_and_pearsons(trials: int, confidence: float) -> None:
    """The lower bound equals the exact one-sided binomial interval."""
    for successes in range(trials + 1):
        exact = binomtest(successes, trials, alternative="greater").proportion_ci(confidence, method="exact").low
        assert lower_bound(successes, trials, confidence) == pytest.approx(exact, abs=1e-12)


def test_draws_are_numbered_and_never_repeat() -> None:
    """The second look continues where the first ended, with seeds derived from the request's."""
    rows = rewiring_rows(subject(4), 0, 8) + rewiring_rows(subject(4), 8, 4)
    assert [row.seed for row in rows] == [derived_seed(SEED, "rewiring", i) for i in range(12)]
    assert len({row.seed for row in rows}) == 12
    assert all(row.edit is AttentionEdit.PERMUTED and row.removed is None for row in rows)


@pytest.mark.parametrize(("same", "draws"), [(8, 8), (11, 12), (10, 12), (6, 6)])
def test_attention_that_hardly_ever_matters_is_certified_unused(same: int, draws: int) -> None:
    """Where different attention certainly keeps the answer more often than not, the attention is not used."""
    outcome, bound = judge(*[draw(SAME)] * same, *[draw(CHANGED)] * (draws - same))
    assert outcome is CheckOutcome.CONTRADICTS
    assert bound is not None
    assert bound > 0.5


@pytest.mark.parametrize(("same", "draws"), [(0, 6), (0, 8), (1, 12)])
def test_attention_that_certainly_matters_supports_the_map(same: int, draws: int) -> None:
    """Where different attention certainly changes the answer more often than not, the attention is used."""
    assert judge(*[draw(SAME)] * same, *[draw(CHANGED)] * (draws - same))[0] is CheckOutcome.SUPPORTS


@pytest.mark.parametrize(("same", "draws"), [(5, 5), (0, 5), (7, 8), (4, 8), (1, 8), (6, 12)])
def test_between_the_two_we_cannot_tell(same: int, draws: int) -> None:
    """Five draws that all keep the answer prove nothing either way, and must not be shown as support."""
    assert judge(*[draw(SAME)] * same, *[draw(CHANGED)] * (draws - same))[0] is CheckOutcome.INCONCLUSIVE


def test_draws_that_hardly_move_the_map_do_not_count() -> None:
    """Attention that is still nearly the same cannot show that attention does not matter."""
    assert jensen_shannon(SCORES, NEAR) < 0.1 <= jensen_shannon(SCORES, FAR)
    assert judge(*[draw(CHANGED)] * 6, *[draw(SAME, NEAR)] * 6)[1] == 0
    assert judge(*[draw(SAME)] * 4, *[draw(SAME, NEAR)] * 8) == (CheckOutcome.SKIPPED, None)


@pytest.mark.parametrize("kind", [MapKind.NORM_ROLLOUT, MapKind.GRADIENT_ROLLOUT])
def test_maps_of_more_than_attention_are_not_asked(kind: MapKind) -> None:
    """Rewiring says nothing about maps that are not made of attention weights alone."""
    assert judge(*[draw(SAME)] * 12, kind=kind) == (CheckOutcome.SKIPPED, None)


def test_no_draw_is_no_evidence() -> None:
    """Without draws the check is skipped."""
    assert judge() == (CheckOutcome.SKIPPED, None)


def test_a_map_that_is_not_a_number_does_not_count() -> None:
    """A draw whose map is NaN is at no distance."""
    assert judge(*[draw(SAME, SCORES * NAN)] * 12) == (CheckOutcome.SKIPPED, None)


def test_the_most_different_twin_is_the_witness() -> None:
    """People are shown the most different map that gives the same prediction, even where nothing is certified."""
    draws = [draw(SAME), draw(2.1, FARTHER), draw(CHANGED, FARTHER), draw(CHANGED), draw(CHANGED), draw(CHANGED)]
    finding = finding_of(draws)
    assert finding.witness is not None
    assert finding.witness.kind is CheckKind.REWIRING
    assert finding.witness.map_scores is FARTHER
    assert finding.witness.jsd == pytest.approx(jensen_shannon(SCORES, FARTHER))
    assert finding.witness.tvd == pytest.approx(subject(4).tvd(answer(2.1)))
    assert not finding.certified


def test_without_a_twin_there_is_no_witness() -> None:
    """Attention that always matters has no twin to show."""
    assert finding_of([draw(CHANGED)] * 8).witness is None


def test_maps_that_are_not_recomputed_say_so() -> None:
    """Attention flow is made of attention alone, but not made anew for each draw: rewiring is skipped, not passed."""
    about, maps = subject(4), {MapKind.RAW_ATTENTION: np.array([0.1, 0.2, 0.3, 0.4])}
    draws = [answer(2.0, maps=maps)] * 12
    found = judge_rewiring(about, unit_map([0.4, 0.3, 0.2, 0.1], MapKind.ATTENTION_FLOW), draws, about.same(draws))
    assert found.result.outcome is CheckOutcome.SKIPPED
    assert "not recomputed" in found.result.detail
    assert (found.certified, found.witness) == (False, None)
