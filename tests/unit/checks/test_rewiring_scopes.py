"""Rewiring at three scopes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from rollcall.checks.rewiring_scopes import (
    EVERYBODY,
    LAST_READOUT,
    READOUT,
    SCOPES,
    WITHIN,
    judge_scopes,
    rewiring_scopes,
)
from rollcall.domain.maps import MapKind
from rollcall.domain.rows import AttentionEdit, KeyScope, QueryScope, Row, RowResult
from rollcall.domain.verdicts import CheckOutcome, CheckResult
from rollcall.verdict.policies import THOROUGH
from tests.subjects import NAN, answer, drive, subject, unit_map

SCORES = np.array([0.7, 0.1, 0.1, 0.1])
FAR, NEAR = np.array([0.1, 0.7, 0.1, 0.1]), np.array([0.6, 0.2, 0.1, 0.1])
LAYERS = 3


def draw(margin: float, scores: np.ndarray = FAR) -> RowResult:
    """What a draw answered, and the map under it."""
    return answer(margin, maps={MapKind.RAW_ATTENTION: scores})


def judged(respond: Callable[[Row], RowResult], kind: MapKind = MapKind.RAW_ATTENTION) -> list[CheckResult]:
    """Results in the order of the scopes."""
    about = subject(4)
    found = drive(rewiring_scopes(about, LAYERS, THOROUGH), respond).finding
    return list(judge_scopes(about, unit_map(SCORES, kind), found))


def test_each_scope_has_draws_of_its_own() -> None:
    """The last layer's read-out, every layer's, and everybody; no two draws are alike."""
    rows = drive(rewiring_scopes(subject(4), LAYERS, THOROUGH), lambda _: draw(2.0)).rows
    assert len(rows) == len({row.seed for row in rows}) == 3 * THOROUGH.scope_draws
    assert all(row.edit is AttentionEdit.PERMUTED for row in rows)
    kinds = [(row.queries, row.layers) for row in rows[:: THOROUGH.scope_draws]]
    assert kinds == [(QueryScope.READOUT, (2,)), (QueryScope.READOUT, None), (QueryScope.ALL, None)]


def test_the_bound_is_clopper_and_pearsons_over_counting_draws() -> None:
    """Draws that hardly move the map do not count; what is left has the exact lower bound."""
    counter = iter(range(10_000))

    def respond(_: Row) -> RowResult:
        number = next(counter) % THOROUGH.scope_draws
        return draw(2.0 if number % 3 else -2.0, NEAR if number < 19 else FAR)

    expected = binomtest(sum(i % 3 > 0 for i in range(19, 59)), 40, alternative="greater").proportion_ci(0.975, "exact")
    for result in judged(respond):
        assert result.value == pytest.approx(expected.low, abs=1e-9)
        assert result.outcome is CheckOutcome.MEASURED


def test_scopes_are_told_apart() -> None:
    """Where only everybody's attention matters, the small scopes keep the answer: the numbers show it."""
    found = judged(lambda row: draw(-2.0 if row.queries is QueryScope.ALL else 2.0))
    values = dict(zip(SCOPES, [result.value for result in found], strict=True))
    assert values[EVERYBODY] == 0
    assert values[LAST_READOUT] == values[READOUT] == pytest.approx(0.025 ** (1 / 59))


@pytest.mark.parametrize(
    ("respond", "kind"),
    [
        (lambda _: draw(2.0, NEAR), MapKind.RAW_ATTENTION),
        (lambda _: draw(NAN, SCORES * NAN), MapKind.RAW_ATTENTION),
        (lambda _: draw(2.0), MapKind.GRADIENT_ROLLOUT),
    ],
    ids=["flat", "no numbers", "not attention alone"],
)
def test_where_nothing_counts_nothing_is_said(respond: Callable[[Row], RowResult], kind: MapKind) -> None:
    """Maps that never move, that are no numbers, or that are made of more than attention: skipped."""
    for result in judged(respond, kind):
        assert (result.outcome, result.value) == (CheckOutcome.SKIPPED, None)


def test_a_pair_is_also_rewired_within_each_text() -> None:
    """A fourth number says how much of a changed answer comes from what the texts say to each other."""
    about = subject(4)
    units = tuple(replace(unit, segment=i // 2) for i, unit in enumerate(about.encoding.units))
    about = replace(about, encoding=replace(about.encoding, units=units))
    driven = drive(
        rewiring_scopes(about, LAYERS, THOROUGH), lambda row: draw(2.0 if row.keys is KeyScope.SEGMENT else -2.0)
    )
    assert len(driven.rows) == 4 * THOROUGH.scope_draws
    found = judge_scopes(about, unit_map(SCORES), driven.finding)
    values = {result.statistic.removeprefix("same_answer_lower_bound_"): result.value or 0.0 for result in found}
    assert list(values) == [*SCOPES, WITHIN]
    assert values[WITHIN] > 0.9
    assert max(values[scope] for scope in SCOPES) == 0.0
