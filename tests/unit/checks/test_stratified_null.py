"""The null of maps that merely mark content words, or the right part of the text."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from rollcall.checks.base import Subject
from rollcall.checks.masking import masking
from rollcall.checks.stratified_null import (
    CONTENT,
    FUNCTION,
    SPECIAL,
    stratified_null,
    stratified_p_value,
    within_strata,
    word_class,
)
from rollcall.domain.inputs import Unit
from rollcall.domain.rows import Row, RowResult
from rollcall.domain.verdicts import CheckOutcome, CheckResult
from rollcall.verdict.policies import THOROUGH
from tests.subjects import answer, drive, removed_units, subject, unit_map

TEXT = ("the", "film", "is", "dull", ",", "a", "waste", "of", "time", "!")
STRATA = np.array([0, 1, 0, 1, 1, 2])


def unit(text: str) -> Unit:
    """A word."""
    return Unit(text=text, token_start=1, token_end=2, char_start=0, char_end=len(text), segment=0)


def worded(*texts: str) -> Subject:
    """A question about these words."""
    plain = subject(len(texts))
    return replace(plain, encoding=replace(plain.encoding, units=tuple(map(unit, texts))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the", FUNCTION),
        ("The,", FUNCTION),
        ("It\N{RIGHT SINGLE QUOTATION MARK}s", FUNCTION),
        ("of the", FUNCTION),
        ("of films", CONTENT),
        ("not", CONTENT),
        ("dull", CONTENT),
        ("1984", CONTENT),
        ("电影", CONTENT),
        ("!", SPECIAL),
        ("", SPECIAL),
        ("...", SPECIAL),
    ],
)
def test_words_are_special_function_or_content(text: str, expected: int) -> None:
    """Punctuation is special; negations carry meaning; consecutive words count as content if one of them is."""
    assert word_class(unit(text)) == expected


def test_relabellings_stay_within_their_stratum_and_are_all_alike_probable() -> None:
    """Each relabelling is a permutation that maps every stratum onto itself; each of the twelve comes as often."""
    drawn = within_strata(STRATA, 12_000, seed=1)
    assert (np.sort(drawn, axis=1) == np.arange(6)).all()
    assert (STRATA[drawn] == STRATA).all()
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 12
    assert np.abs(counts - 1_000).max() < 4 * np.sqrt(1_000)


def test_the_p_value_agrees_with_all_relabellings() -> None:
    """Against every permutation that keeps the strata, within four standard errors."""
    weights, effects = np.array([0.3, 0.1, 0.05, 0.25, 0.2, 0.1]), np.array([1.0, -0.2, 0.3, 0.9, 0.4, 0.0])
    kept = [list(order) for order in permutations(range(6)) if (STRATA[list(order)] == STRATA).all()]
    exact = np.mean([weights[order] @ effects >= weights @ effects - 1e-12 for order in kept])
    found = stratified_p_value(weights, effects, STRATA, 9_999, seed=2)
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 9_999) + 1e-3)


def judged(about: Subject, scores: np.ndarray, effects: np.ndarray) -> dict[str, CheckResult]:
    """Results by statistic where each word carries its effect."""

    def additive(row: Row) -> RowResult:
        return answer(2.0 - sum(effects[i] for i in removed_units(row)))

    masks = drive(masking(about, THOROUGH), additive).finding
    return {result.statistic: result for result in stratified_null(about, unit_map(scores), masks, THOROUGH)}


def test_a_map_that_only_marks_content_words_beats_no_relabelling_within_them() -> None:
    """With equal weight on every content word there is nothing to relabel: no p-value, and certainly no small one."""
    about = worded(*TEXT)
    marks = np.array([word_class(each) == CONTENT for each in about.encoding.units], dtype=np.float64)
    effects = np.array([0.0, 0.1, 0.0, 3.0, 0.0, 0.0, 2.0, 0.0, 0.2, 0.0])
    found = judged(about, marks / marks.sum(), effects)
    assert found["p_up_within_word_classes"].outcome is CheckOutcome.SKIPPED
    assert found["p_up_within_thirds"].value is not None


def test_a_map_of_the_effects_beats_both_nulls() -> None:
    """Where the right words of each class and third have the weight, hardly any relabelling does as well."""
    effects = np.array([0.1, 1.0, 0.05, 3.0, 0.2, 0.15, 2.0, 0.02, 0.4, 0.3, 0.7, 0.01])
    about = worded(*TEXT, "awful", "and")
    for result in judged(about, effects / effects.sum(), effects).values():
        assert result.outcome is CheckOutcome.SUPPORTS
        assert result.value == result.p_value
        assert result.rows == 0


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_words_for_any_relabelling_are_skipped(n: int) -> None:
    """One word of each class cannot be relabelled within it."""
    found = judged(worded("dull", "!") if n == 2 else worded("dull"), np.arange(1.0, n + 1), np.arange(n) + 1.0)
    assert {result.outcome for result in found.values()} == {CheckOutcome.SKIPPED}


def test_equal_logits_are_skipped() -> None:
    """Without effects nothing can be agreed with."""
    found = judged(worded(*TEXT), np.arange(1.0, 11), np.zeros(10))
    assert {result.outcome for result in found.values()} == {CheckOutcome.SKIPPED}
