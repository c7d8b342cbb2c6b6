"""The rule under each way of removing a word by itself."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from rollcall.checks.masking import MaskFinding, masking
from rollcall.checks.operator_rule import operator_rule
from rollcall.domain.rows import TEXT_REMOVALS, Row, RowResult
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult
from rollcall.verdict.policies import THOROUGH
from tests.subjects import NAN, answer, drive, removed_units, subject, unit_map

MASK, HIDE, DELETE = TEXT_REMOVALS.every
EFFECTS = np.array([2.0, 1.0, 0.5, 0.3, 0.1])
SCORES = EFFECTS / EFFECTS.sum()


def additive(row: Row) -> RowResult:
    """Each word carries its effect, under whatever operator."""
    return answer(4.0 - sum(EFFECTS[i] for i in removed_units(row)))


def judged(scores: np.ndarray, respond: object = additive, n: int = 5) -> dict[str, CheckResult]:
    """Results by statistic."""
    about = subject(n, margin=4.0)
    masks: MaskFinding = drive(masking(about, THOROUGH), respond).finding  # type: ignore[arg-type]
    return {result.statistic: result for result in operator_rule(about, unit_map(scores), masks, THOROUGH)}


def test_a_map_of_the_effects_is_supported_under_every_operator() -> None:
    """One result for both usual operators and one for each, deletion included."""
    found = judged(SCORES)
    assert list(found) == ["alignment", "alignment_mask_token", "alignment_hidden_keys", "alignment_deletion"]
    for result in found.values():
        assert result.kind is CheckKind.OPERATOR_RULE
        assert result.value == pytest.approx(1.0)
        assert result.threshold == 0.5
    # Of five words the observed order is one of 120: the best p-value is far below alpha.
    assert {result.outcome for result in found.values()} == {CheckOutcome.SUPPORTS}
    assert found["alignment"].rows == 2 * found["alignment_deletion"].rows


def test_a_reversed_map_is_contradicted() -> None:
    """The opposite of the effects is the worst use of these weights."""
    found = judged(SCORES[::-1])
    assert {result.outcome for result in found.values()} == {CheckOutcome.CONTRADICTS}


def test_alignment_and_p_value_are_those_of_every_relabelling() -> None:
    """A against the best, the worst and the mean of all 120 relabellings; p_up near their share that does as well."""
    scores = np.array([0.4, 0.05, 0.25, 0.2, 0.1])
    result = judged(scores)["alignment"]
    sums = np.array([scores[list(order)] @ EFFECTS for order in permutations(range(5))])
    own = scores @ EFFECTS
    expected = (own - sums.mean()) / (sums.max() - sums.mean())
    assert result.value == pytest.approx(expected, abs=0.02)  # the ridge shrinks a little
    assert result.p_value == pytest.approx((sums >= own - 1e-12).mean(), abs=0.05)


def test_operators_may_disagree() -> None:
    """A map that only masking agrees with is supported there alone."""

    def respond(row: Row) -> RowResult:
        effects = EFFECTS if row.operator is MASK else EFFECTS[::-1]
        return answer(4.0 - sum(effects[i] for i in removed_units(row)))

    found = judged(SCORES, respond)
    assert found["alignment_mask_token"].outcome is CheckOutcome.SUPPORTS
    assert found["alignment_hidden_keys"].outcome is CheckOutcome.CONTRADICTS
    assert found["alignment_deletion"].outcome is CheckOutcome.CONTRADICTS


@pytest.mark.parametrize(
    ("n", "respond"),
    [(1, additive), (5, lambda _: answer(4.0)), (5, lambda _: answer(NAN))],
    ids=["one word", "equal logits", "no numbers"],
)
def test_without_effects_there_is_no_alignment(n: int, respond: object) -> None:
    """One word, margins that never move, values that are no numbers: skipped, never a number."""
    for result in judged(np.arange(1.0, n + 1) / n, respond, n).values():
        assert (result.outcome, result.value, result.p_value) == (CheckOutcome.SKIPPED, None, None)


def test_two_words_have_too_few_rows_by_operator() -> None:
    """Two single removals under one operator estimate nothing; both operators together do."""
    found = judged(np.array([0.8, 0.2]), n=2)
    assert found["alignment"].value is not None
    assert found["alignment_deletion"].outcome is CheckOutcome.SKIPPED


def test_a_constant_map_has_no_alignment() -> None:
    """Equal weights cannot be relabelled."""
    assert {result.outcome for result in judged(np.full(5, 0.2)).values()} == {CheckOutcome.SKIPPED}
