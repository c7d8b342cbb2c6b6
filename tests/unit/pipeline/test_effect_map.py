"""EFFECT is judged by removals that it never saw: through the real looks, on real effects and on pure noise."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import pytest

from rollcall.admission.budget import Budget
from rollcall.attribution.effect import effect_map
from rollcall.checks.alignment import alignment_value, estimate_effects, plan_looks
from rollcall.domain.errors import InvalidInput, Unsupported
from rollcall.domain.inputs import Encoding
from rollcall.domain.maps import ALWAYS_RETURNED, DEFAULT_MAPS, MapKind
from rollcall.domain.rows import Row, RowResult
from rollcall.domain.verdicts import CheckLevel, Flag, Reason
from rollcall.pipeline.checking import Checked, CheckedMap
from rollcall.verdict.calibration import Promise
from rollcall.verdict.policies import STANDARD
from tests.calibrations import calibration
from tests.harness import ask
from tests.unit.pipeline.fakes import EFFECTS, TEXT, WORDS, SumModel, pipeline_of, unit_map
from tests.unit.pipeline.test_checking import HALF, RIGHT, checker_of, subject_of

EFFECT = MapKind.EFFECT


@dataclass(kw_only=True)
class Noise(SumModel):
    """A model whose margin is drawn anew for each set of units and operator: there is nothing to explain.

    The same row always gives the same margin, as a real model does. Removing everything changes nothing, so that the
    map is made of the noise alone and is not flat.
    """

    seed: int

    def answer(self, encoded: Encoding, row: Row) -> RowResult:
        """Draw the margin of removals; everything else as usual."""
        usual = super().answer(encoded, row)
        if row.removed is None:
            return usual
        if row.removed.all():
            return super().answer(encoded, replace(row, removed=None))
        digest = hashlib.sha256(f"{self.seed} {row.removed.tolist()} {row.operator}".encode()).digest()
        margin = np.random.default_rng(list(digest)).normal()
        return replace(usual, logits=np.array([margin / 2, -margin / 2]))


async def checked(model: SumModel, text: str = TEXT, seed: int = 7, max_rows: int = 500) -> Checked:
    """Check EFFECT alone, beside a map that no look decides."""
    budget = Budget(max_rows=max_rows, deadline=None, clock=lambda: 0.0, estimate=lambda _: 0.0, rows=1)
    scores = np.resize(HALF.scores, len(text.split()))
    checker = checker_of(model, (unit_map(HALF.kind, scores),), text=text, budget=budget)
    subject = replace(checker.subject, seed=seed)
    return await replace(checker, subject=subject, wants_effect=True).check()


def effect_of(found: Checked) -> CheckedMap:
    """The map in question."""
    return next(m for m in found.maps if m.assessment.map.kind is EFFECT)


async def test_true_effects_are_found_and_proved() -> None:
    """Where the words' amounts simply add up, the first look finds them and the others say so."""
    found = effect_of(await checked(SumModel()))
    truth = np.array(list(EFFECTS.values()))
    assert np.corrcoef(found.assessment.map.scores, truth)[0, 1] > 0.95
    assert found.ruling.flag is Flag.FAITHFUL
    assert found.assessment.alignment is not None
    assert (found.assessment.alignment.removals, found.assessment.alignment.width) == (16, 0.4)


async def test_the_map_is_made_before_it_is_judged() -> None:
    """Whatever the later looks measure, the map is what the first one made of it."""

    def turned(stage: str, rows: list[Row], results: list[RowResult]) -> list[RowResult]:
        if model.checked <= 21 or stage == "witness":
            return results
        return [
            replace(result, logits=result.logits if row.removed is None else -result.logits)
            for row, result in zip(rows, results, strict=True)
        ]

    model = SumModel(after=turned, witness_from=53)
    told, contradicted = effect_of(await checked(SumModel())), effect_of(await checked(model))
    assert np.array_equal(told.assessment.map.scores, contradicted.assessment.map.scores)
    assert contradicted.ruling.flag is Flag.UNFAITHFUL
    assert contradicted.assessment.alignment is not None
    assert contradicted.assessment.alignment.value < -0.9


@pytest.mark.parametrize("words", [7, 8, 12])
async def test_noise_flatters_nobody(words: int) -> None:
    """On margins that are nothing but noise the map agrees with other rows by chance, and with its own rows fully.

    Seven words have 35 halves: the looks draw some of them again, and these must not judge what they made.
    """
    text = " ".join((WORDS * 2)[:words])
    judged = [effect_of(await checked(Noise(seed=seed), text, seed)) for seed in range(150)]
    values = [found.assessment.alignment.value for found in judged if found.assessment.alignment]
    assert len(values) > 120  # the others are flat
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    # Few words are ranked alike by luck: of maps made of other noise 6, 16 and 7 of 150 pass on texts this short.
    assert [found.ruling.flag for found in judged].count(Flag.FAITHFUL) <= 15
    assert np.mean([flattered(Noise(seed=seed), text, seed) for seed in range(150)]) > 0.9


def flattered(model: SumModel, text: str, seed: int) -> float:
    """What A would be against the very rows that the map was made of."""
    subject = replace(subject_of(text, model), seed=seed)
    look = plan_looks(subject.n, seed, STANDARD)[0]
    margins = subject.margins([model.answer(subject.encoding, row) for row in look.rows()])
    estimate = estimate_effects(look.removed, look.operators, margins)
    assert estimate is not None
    scores = effect_map(estimate, 0.0, subject.n, removals=len(margins), judged=True).scores
    return alignment_value(scores, estimate.effects) or 0.0


@pytest.mark.parametrize("text", [TEXT, "moves me thin music"])
async def test_it_is_the_same_map_where_a_prior_helps_others(text: str) -> None:
    """A calibration knows it as it is without a prior: made of sixteen removals alone, judged by those that follow."""
    n = len(text.split())
    maps = (unit_map(HALF.kind, np.resize(HALF.scores, n)),)
    plain = replace(checker_of(Noise(seed=3), maps, text=text), wants_effect=True)
    promises = dict.fromkeys((HALF.kind, EFFECT), Promise(c=0.05))
    calibrated = replace(
        plain,
        calibration=calibration(prior=True, promises=promises),
        prior=np.linspace(1.0, -1.0, n),
        budget=Budget(max_rows=122, deadline=None, clock=lambda: 0.0, estimate=lambda _: 0.0, rows=1),
    )
    alone, beside = effect_of(await plain.check()), effect_of(await calibrated.check())
    assert np.array_equal(alone.assessment.map.scores, beside.assessment.map.scores)
    assert alone.assessment.map.note == beside.assessment.map.note
    if n == len(WORDS):
        assert alone.assessment.alignment is not None
        assert beside.assessment.alignment == replace(alone.assessment.alignment, width=2 * 0.05)


async def test_where_nothing_moves_the_answer_it_is_made_at_once() -> None:
    """A first look of eight removals that finds no reach is the last one."""

    def still(_: str, rows: list[Row], results: list[RowResult]) -> list[RowResult]:
        untouched = model.answer(subject_of(TEXT, SumModel()).encoding, Row())
        return [
            replace(result, logits=untouched.logits) if row.removed is not None else result
            for row, result in zip(rows, results, strict=True)
        ]

    model = SumModel(after=still)
    checker = replace(
        checker_of(model, (unit_map(HALF.kind, HALF.scores),), calibrated=calibration(prior=True)),
        wants_effect=True,
        prior=np.linspace(1.0, -1.0, len(WORDS)),
    )
    found = await checker.check()
    assert found.looks == 1
    assert {one.ruling.reason for one in found.maps} == {Reason.NO_EFFECT}
    assert len(found.maps) == 2


async def test_no_set_of_units_makes_and_judges_the_map() -> None:
    """With seven words fewer removals judge than were run: those of sets that made the map are left out."""
    found = effect_of(await checked(Noise(seed=3), " ".join(WORDS[:7])))
    assert found.assessment.alignment is not None
    assert 16 <= found.assessment.alignment.removals < 32
    assert found.assessment.alignment.width == 0.4


@pytest.mark.parametrize("words", [2, 4, 6])
async def test_short_texts_leave_nothing_to_judge_with(words: int) -> None:
    """All subsets are in the one look that makes the map: it is shown, and nothing is claimed."""
    found = effect_of(await checked(SumModel(), " ".join(WORDS[-words:])))
    assert (found.ruling.flag, found.ruling.reason) == (Flag.INCONCLUSIVE, Reason.LOW_POWER)
    assert found.assessment.alignment is None
    assert "none is left" in found.assessment.map.note


async def test_one_word_is_all_of_it() -> None:
    """A single word has the whole effect, and nothing to be ranked."""
    found = effect_of(await checked(SumModel(), "moves"))
    assert found.assessment.map.scores.tolist() == [1.0]
    assert found.ruling.reason is Reason.LOW_POWER


@pytest.mark.parametrize(("max_rows", "reason"), [(30, Reason.BUDGET), (500, Reason.NONE)])
async def test_a_budget_that_ends_after_the_first_look_says_so(max_rows: int, reason: Reason) -> None:
    """The map is there, and nobody has judged it yet."""
    assert effect_of(await checked(SumModel(), max_rows=max_rows)).ruling.reason is reason


async def test_without_a_first_look_there_is_no_map() -> None:
    """It is named as missing, and if its flag was asked for there is no answer."""
    found = await checked(SumModel(), max_rows=5)
    assert [m.assessment.map.kind for m in found.maps] == [HALF.kind]
    (missing,) = found.missing
    assert (missing.kind, missing.late) == (EFFECT, False)
    pipeline = pipeline_of(SumModel())
    assert (await pipeline.explain(ask(TEXT, maps=(EFFECT,), max_rows=5))).missing_maps == found.missing
    with pytest.raises(InvalidInput, match="EFFECT"):
        await pipeline.explain(ask(TEXT, maps=(EFFECT,), primary_map=EFFECT, max_rows=5))


async def test_rows_that_are_not_numbers_make_no_map() -> None:
    """No map is made of NaN."""

    def spoil(_: str, rows: list[Row], results: list[RowResult]) -> list[RowResult]:
        return [replace(results[0], logits=np.full(2, np.nan)), *results[1:]] if len(rows) > 1 else results

    (missing,) = (await checked(SumModel(after=spoil))).missing
    assert "they failed" in missing.reason


async def test_it_costs_no_rows_of_its_own() -> None:
    """The looks are the same rows; only as many of them as the map needs are run."""
    model = SumModel()
    found = await pipeline_of(model).explain(ask(TEXT, maps=(EFFECT,)))
    assert [a.map.kind for a in found.attributions] == [*ALWAYS_RETURNED, EFFECT]
    assert [count for _, count in model.rows[:3]] == [1, 29, 16]
    usual = await pipeline_of(SumModel()).explain(ask(TEXT, maps=ALWAYS_RETURNED))
    assert [a.verdict.alignment for a in found.attributions[:2]] == [a.verdict.alignment for a in usual.attributions]


async def test_without_checks_it_is_refused() -> None:
    """There is nothing to make it of."""
    with pytest.raises(Unsupported) as refusal:
        await pipeline_of(SumModel()).explain(ask(TEXT, maps=(EFFECT,), check_level=CheckLevel.NONE))
    assert refusal.value.subject == "map.EFFECT"
    assert EFFECT not in DEFAULT_MAPS


async def test_other_maps_are_judged_as_ever() -> None:
    """Asking for EFFECT changes no other map's verdict."""
    alone = await checker_of(SumModel(), (RIGHT,)).check()
    beside = await replace(checker_of(SumModel(), (RIGHT,)), wants_effect=True).check()
    assert beside.maps[0].assessment == alone.maps[0].assessment
