"""Verdicts on models whose truth is known by construction, through the real pipeline, engine and backend."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rollcall.admission.budget import Cut
from rollcall.domain.errors import BackendError
from rollcall.domain.explanation import Explanation
from rollcall.domain.inputs import Target
from rollcall.domain.maps import DEFAULT_MAPS, Floats, MapKind
from rollcall.domain.rows import AttentionEdit, Row, RowResult
from rollcall.domain.verdicts import CheckKind, CheckOutcome, Flag, Reason
from rollcall.models.loading import LoadedModel
from tests import toys
from tests.harness import Clock, Meddling, ask, serving, verdict_of
from tests.toys import SALIENCE, SHARPNESS, WORDS

RAW, ROLLOUT = MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT
NORM, GRADIENT = MapKind.NORM_ROLLOUT, MapKind.GRADIENT_ROLLOUT
TEXT = "four nine one twelve six two eleven three"
LONG = "twelve two four one seven nine three ten five eleven"
TEXTS = (
    "twelve one",
    "three twelve two",
    "six one eleven two",
    "three twelve two one six",
    "one twelve two ten three six",
    TEXT,
    LONG,
    "twelve two twelve four one one seven nine three ten five eleven eight six two two",
)
FIRST_LOOK = 30
"""Rows of a longer text up to its first look: the input, five shared rows, 16 removals, 8 draws."""

EVIDENCE = dict(zip(WORDS, (0.6, 0.3, 0.1, 0.9, 0.0, 0.8, 0.4, 0.7, 0.2, 0.5, 0.95, 0.15), strict=True))
"""What the words say to the model that ignores its attention: unrelated to their salience."""


@cache
def toy(name: str) -> LoadedModel:
    """A toy, made once."""
    makers: dict[str, Callable[[], LoadedModel]] = {
        "selector": toys.selector,
        "twin": lambda: toys.twins()[1],
        "ignoring": lambda: toys.ignoring(EVIDENCE),
        "constant": toys.constant,
        "deaf": toys.deaf,
        "poisoned word": lambda: toys.poisoned("five"),
        "poisoned mask": lambda: toys.poisoned(toys.MASK),
    }
    return makers[name]()


def explain(name: str, text: str, meddling: Meddling | None = None, **fields: object) -> Explanation:
    """Explain one text with one toy."""
    with serving(toy(name), meddling=meddling) as harness:
        return harness.explain(ask(text, **fields))


def flags(explanation: Explanation) -> dict[MapKind, tuple[Flag, Reason]]:
    """Flag and reason of every map."""
    return {a.map.kind: (a.verdict.flag, a.verdict.reason) for a in explanation.attributions}


def all_maps(reason: Reason) -> dict[MapKind, tuple[Flag, Reason]]:
    """Every map inconclusive for one reason."""
    return dict.fromkeys(DEFAULT_MAPS, (Flag.INCONCLUSIVE, reason))


def scores(explanation: Explanation, kind: MapKind) -> Floats:
    """Weights of one map."""
    return next(a.map.scores for a in explanation.attributions if a.map.kind is kind)


def outcomes(explanation: Explanation, kind: MapKind) -> dict[CheckKind, CheckOutcome]:
    """Outcome of every check of one map."""
    return {check.kind: check.outcome for check in verdict_of(explanation, kind).checks}


def redrawn(kind: MapKind, draw: Callable[[Floats], Floats]) -> Meddling:
    """Replace one captured map by another."""
    return Meddling(maps=lambda maps: tuple(replace(m, scores=draw(m.scores)) if m.kind is kind else m for m in maps))


FAITHFUL, UNFAITHFUL = (Flag.FAITHFUL, Reason.NONE), (Flag.UNFAITHFUL, Reason.NONE)


@pytest.mark.parametrize("name", ["selector", "twin", "ignoring", "constant", "deaf", "poisoned word", "poisoned mask"])
def test_every_toy_passes_the_self_test_at_load(name: str) -> None:
    """The toys are refused by nobody: what is wrong with some of them only shows per request."""
    assert toy(name).failed == ()


ON_REQUEST = tuple(kind for kind in MapKind if kind not in DEFAULT_MAPS)


class TestMapsOnRequest:
    """Maps that come only where they are asked for, where the truth about the words is known."""

    @pytest.mark.parametrize("text", [TEXT, LONG])
    def test_what_follows_the_effects_is_faithful(self, text: str) -> None:
        """Where words act through attention alone, all but the gradient at the input tell the truth."""
        found = flags(explain("selector", text, maps=ON_REQUEST))
        told = {kind for kind in ON_REQUEST if found[kind] == FAITHFUL}
        assert told == set(ON_REQUEST) - {MapKind.INPUT_X_GRADIENT}

    def test_flow_through_attention_that_is_ignored_is_unfaithful(self) -> None:
        """Where attention does not decide, the flow through it is wrong; removals and gradients are not."""
        found = flags(explain("ignoring", LONG, maps=ON_REQUEST))
        assert found[MapKind.ATTENTION_FLOW] == UNFAITHFUL
        right = (MapKind.INTEGRATED_GRADIENTS, MapKind.INPUT_X_GRADIENT, MapKind.LEAVE_ONE_OUT, MapKind.EFFECT)
        assert {found[kind] for kind in right} == {FAITHFUL}

    @pytest.mark.parametrize(
        ("name", "reason"), [("constant", Reason.NO_EFFECT), ("deaf", Reason.INSTRUMENT)], ids=["constant", "deaf"]
    )
    def test_what_cannot_be_known_is_not_claimed(self, name: str, reason: Reason) -> None:
        """No map gets past a decision without effects, or past hooks that do nothing."""
        found = flags(explain(name, LONG, maps=ON_REQUEST))
        assert set(found) >= set(ON_REQUEST)
        assert set(found.values()) == {(Flag.INCONCLUSIVE, reason)}

    def test_what_is_no_number_makes_no_map(self) -> None:
        """NaN in the model is NUMERICS for every map, and what would be made of the checks' rows is missing."""
        answer = explain("poisoned word", LONG, maps=ON_REQUEST)
        assert set(flags(answer).values()) == {(Flag.INCONCLUSIVE, Reason.NUMERICS)}
        assert [missing.kind for missing in answer.missing_maps] == [MapKind.EFFECT]


class TestSelector:
    """The answer is exactly what the attention selects."""

    @pytest.mark.parametrize("text", TEXTS)
    def test_its_attention_is_what_was_written_down(self, text: str) -> None:
        """Each word gets attention in proportion to e to the power of its salience."""
        weights = np.exp([SHARPNESS * SALIENCE[word] for word in text.split()])
        explanation = explain("selector", text)
        for kind in DEFAULT_MAPS:
            assert_allclose(scores(explanation, kind), weights / weights.sum(), atol=1e-4)

    @pytest.mark.parametrize("text", TEXTS)
    def test_its_attention_is_faithful(self, text: str) -> None:
        """Every map of a model that works by attention is faithful, at the first look."""
        explanation = explain("selector", text)
        assert flags(explanation) == dict.fromkeys(DEFAULT_MAPS, FAITHFUL)
        assert explanation.recommended_map is not None
        alignment = verdict_of(explanation, RAW).alignment
        assert alignment is not None
        short = len(text.split()) <= 10
        assert alignment.value > (0.99 if short else 0.95)
        assert alignment.reliability > (0.98 if short else 0.85)

    def test_effects_are_what_the_words_contribute(self) -> None:
        """Effects follow the weights, and sum to what removing everything does."""
        explanation = explain("selector", LONG)
        effects = np.array([effect.effect for effect in explanation.effects])
        weights = scores(explanation, RAW)
        assert np.corrcoef(effects, weights)[0, 1] > 0.999
        assert effects.sum() == pytest.approx(explanation.prediction.margin + 1, abs=1e-3)

    @pytest.mark.parametrize("text", [TEXT, LONG])
    @pytest.mark.parametrize("kind", [RAW, ROLLOUT, NORM])
    def test_the_same_map_upside_down_is_unfaithful(self, text: str, kind: MapKind) -> None:
        """The right weights on the wrong words: this map is condemned, the others keep their flags."""
        explanation = explain("selector", text, redrawn(kind, upside_down))
        assert flags(explanation) == dict.fromkeys(DEFAULT_MAPS, FAITHFUL) | {kind: UNFAITHFUL}
        assert explanation.recommended_map not in {kind, None}

    def test_shuffled_maps_are_unfaithful_unless_they_are_right_by_luck(self) -> None:
        """Of random relabellings none that is far from the truth passes, and most are condemned."""
        found: Counter[Flag] = Counter()
        for seed in range(25):
            verdict = verdict_of(explain("selector", LONG, redrawn(RAW, shuffled(seed))), RAW)
            found[verdict.flag] += 1
            assert verdict.alignment is not None
            assert (verdict.flag is Flag.FAITHFUL) is (verdict.alignment.value - verdict.alignment.width >= 0.5)
        assert found[Flag.UNFAITHFUL] >= 20
        assert found[Flag.FAITHFUL] <= 2

    def test_a_map_without_the_most_important_word_is_not_faithful(self) -> None:
        """The rest may rank as it should: what matters most was left out."""

        def omitting(weights: Floats) -> Floats:
            kept = np.where(np.arange(len(weights)) == 0, 0.0, weights)
            return np.asarray(kept / kept.sum())

        text = "twelve eleven eleven eleven eleven one one one two one one one two"
        assert flags(explain("selector", text, redrawn(RAW, omitting)))[RAW] == (Flag.INCONCLUSIVE, Reason.OMISSION)

    def test_a_decision_flip_is_a_replayable_set(self) -> None:
        """The words named as decisive are those with the most attention, and really change the answer."""
        explanation = explain("selector", TEXT)
        flip = explanation.decision_flip
        assert flip is not None
        assert flip.found
        ranking = np.argsort(-scores(explanation, RAW))
        assert set(flip.units) == set(ranking[: len(flip.units)].tolist())
        assert all(margin < 0 for margin in flip.margins)

    def test_asked_about_the_other_class_its_attention_is_unfaithful(self) -> None:
        """Why "no"? Every word speaks for "yes": attention, which cannot point against, has it the wrong way round."""
        explanation = explain("selector", LONG, target=Target(target="no"))
        assert flags(explanation)[RAW] == flags(explanation)[ROLLOUT] == UNFAITHFUL
        assert flags(explanation)[GRADIENT] == (Flag.INCONCLUSIVE, Reason.FLAT_MAP)
        assert all(effect.effect < 0 for effect in explanation.effects)
        assert explanation.decision_flip is not None
        assert explanation.decision_flip.found

    def test_decided_maps_cost_one_look(self) -> None:
        """An explanation stops as soon as every map is decided."""
        with serving(toy("selector")) as harness:
            explanation = harness.explain(TEXT)
            ((_, looks, cut),) = harness.told.explanations
        assert (looks, cut) == (1, None)
        assert explanation.rows <= FIRST_LOOK + 2 * 24 + 8

    @pytest.mark.parametrize("name", ["selector", "twin", "ignoring"])
    def test_no_text_costs_more_than_the_documented_rows(self, name: str) -> None:
        """At most 66 shared rows, 24 for the witnesses of each of two maps, 8 for the flip."""
        for text in TEXTS:
            assert explain(name, text).rows <= 122

    def test_the_same_question_gets_the_same_answer(self) -> None:
        """Same input, policy and seed: the same sets, numbers and flags."""
        once, again = explain("twin", TEXT), explain("twin", TEXT)
        assert (once.seed, once.rows) == (again.seed, again.rows)
        assert flags(once) == flags(again)
        assert [e.effect for e in once.effects] == [e.effect for e in again.effects]
        assert verdict_of(once, RAW).alignment == verdict_of(again, RAW).alignment


def shuffled(seed: int) -> Callable[[Floats], Floats]:
    """The same weights in a random order."""
    return lambda weights: np.random.default_rng(seed).permutation(weights)


def upside_down(weights: Floats) -> Floats:
    """The same weights, the largest where the smallest was."""
    turned = np.empty_like(weights)
    turned[np.argsort(weights)] = np.sort(weights)[::-1]
    return turned


class TestTwins:
    """Two models with the same output for every input, and different attention."""

    @pytest.mark.parametrize("text", TEXTS)
    def test_they_cannot_be_told_apart_from_outside(self, text: str) -> None:
        """Predictions and effects agree to the last digits that a different batch would leave alone."""
        one, other = explain("selector", text), explain("twin", text)
        assert_allclose(one.prediction.logits, other.prediction.logits, atol=1e-5)
        shared = [verdict_of(e, NORM).alignment for e in (one, other)]
        assert shared[0] is not None
        assert shared[1] is not None
        assert shared[0].value == pytest.approx(shared[1].value, abs=1e-4)

    def test_their_attention_differs_and_so_do_its_flags(self) -> None:
        """The idle head's attention makes the raw map a bad account of the same answer."""
        one, other = explain("selector", LONG), explain("twin", LONG)
        assert np.abs(scores(one, RAW) - scores(other, RAW)).max() > 0.1
        assert flags(one)[RAW] == FAITHFUL
        assert flags(other)[RAW] == UNFAITHFUL
        assert flags(other)[NORM] == flags(other)[GRADIENT] == FAITHFUL
        assert other.recommended_map in {NORM, GRADIENT}

    @pytest.mark.parametrize("text", TEXTS)
    def test_a_flag_is_a_function_of_map_and_effects(self, text: str) -> None:
        """One twin's map, put into the other's mouth, earns the same flag and the same A."""
        other = explain("twin", text)
        borrowed = explain("selector", text, redrawn(RAW, lambda _: scores(other, RAW)))
        assert flags(borrowed)[RAW] == flags(other)[RAW]
        own, lent = verdict_of(other, RAW).alignment, verdict_of(borrowed, RAW).alignment
        assert (own is None) is (lent is None)
        if own is not None and lent is not None:
            assert own.value == pytest.approx(lent.value, abs=1e-4)


def random_texts(count: int, shortest: int, longest: int) -> list[str]:
    """Texts of words drawn at random, none twice in a text."""
    rng = np.random.default_rng(2026)
    lengths = rng.integers(shortest, longest + 1, size=count)
    return [" ".join(rng.choice(WORDS, n, replace=False)) for n in lengths]


class TestIgnoring:
    """The answer comes from a mean of embeddings; a full encoder runs beside it, disconnected."""

    def test_the_state_moves_and_the_answer_does_not(self) -> None:
        """Its hooks are live, uniform attention moves the state, and not the answer in the least."""
        explanation = explain("ignoring", LONG)
        checks = {c.kind: c for c in verdict_of(explanation, RAW).checks}
        assert checks[CheckKind.INSTRUMENT].outcome is CheckOutcome.SUPPORTS
        assert checks[CheckKind.UNIFORM_ATTENTION].value == pytest.approx(0, abs=1e-6)
        assert checks[CheckKind.REACH].outcome is CheckOutcome.SUPPORTS

    def test_its_attention_is_never_faithful_on_longer_texts(self) -> None:
        """Sixty texts of seven words and more: unfaithful, not used, or undecided, and never once faithful."""
        found: Counter[tuple[Flag, Reason]] = Counter()
        with serving(toy("ignoring")) as harness:
            for text in random_texts(60, 7, 12):
                explanation = harness.explain(text)
                found.update(flags(explanation)[kind] for kind in (RAW, ROLLOUT))
                assert flags(explanation)[GRADIENT] == (Flag.INCONCLUSIVE, Reason.FLAT_MAP)
                assert outcomes(explanation, RAW)[CheckKind.REWIRING] is not CheckOutcome.SUPPORTS
        assert FAITHFUL not in found
        assert found[UNFAITHFUL] > 60

    def test_on_short_texts_luck_needs_draws_that_cannot_certify(self) -> None:
        """Two to six words can be ranked right by luck; where six rewirings count, even that is seen through."""
        faithful = 0
        with serving(toy("ignoring")) as harness:
            for text in random_texts(60, 2, 6):
                verdict = harness.verdict(text, RAW)
                if verdict.flag is Flag.FAITHFUL:
                    faithful += 1
                    rewiring = next(c for c in verdict.checks if c.kind is CheckKind.REWIRING)
                    assert rewiring.outcome in {CheckOutcome.SKIPPED, CheckOutcome.INCONCLUSIVE}
                    assert verdict.alignment is not None
                    assert verdict.alignment.value >= 0.6
        assert faithful <= 9

    def test_luck_is_seen_through_where_attention_moves(self) -> None:
        """A text whose most attended words happen to matter most: aligned, and yet the attention is not used."""
        lucky = toys.ignoring(SALIENCE)
        with serving(lucky) as harness:
            explanation = harness.explain(LONG)
        assert flags(explanation)[RAW] == flags(explanation)[ROLLOUT] == (Flag.INCONCLUSIVE, Reason.NOT_USED)
        alignment = verdict_of(explanation, RAW).alignment
        assert alignment is not None
        assert alignment.value > 0.9

    @pytest.mark.parametrize("text", ["two eleven", "one six twelve", "one five nine twelve", TEXT])
    def test_words_that_weigh_the_same_are_not_ranked_by_rounding(self, text: str) -> None:
        """Where every word carries the same, no order of them is right: too little power, whatever the rounding."""
        equal = toys.ignoring(dict.fromkeys(WORDS, 0.5))
        with serving(equal) as harness:
            found = flags(harness.explain(text))
        assert {found[RAW], found[ROLLOUT]} <= {
            (Flag.INCONCLUSIVE, Reason.LOW_POWER),
            (Flag.INCONCLUSIVE, Reason.FLAT_MAP),
        }


class TestInconclusive:
    """Where the truth is that nobody can tell."""

    @pytest.mark.parametrize("text", [*TEXTS, "twelve"])
    def test_a_constant_classifier_has_no_effect(self, text: str) -> None:
        """The answer is "yes" whatever is said: there is nothing for a map to explain."""
        assert flags(explain("constant", text)) == all_maps(Reason.NO_EFFECT)

    @pytest.mark.parametrize(
        "text", ["seven seven eight seven eight eight seven seven", "two two", "four five four five"]
    )
    def test_nearly_flat_attention_says_nothing(self, text: str) -> None:
        """Words that get nearly the same attention: the map is flat, however well its ripples align."""
        assert flags(explain("selector", text)) == all_maps(Reason.FLAT_MAP)

    def test_one_word_cannot_be_compared(self) -> None:
        """A single word: its effect is shown, and no map is judged."""
        explanation = explain("selector", "twelve")
        assert flags(explanation) == all_maps(Reason.LOW_POWER)
        assert [effect.unit for effect in explanation.effects] == [0]
        assert explanation.effects[0].effect > 1

    def test_hooks_that_were_disconnected_are_noticed(self) -> None:
        """The model passed its self-test and lost its hooks since: no flag rests on them."""
        explanation = explain("deaf", TEXT)
        assert flags(explanation) == all_maps(Reason.INSTRUMENT)
        assert outcomes(explanation, RAW)[CheckKind.INSTRUMENT] is CheckOutcome.CONTRADICTS

    @pytest.mark.parametrize("text", [LONG, "five"])
    def test_weights_that_are_not_numbers_are_noticed(self, text: str) -> None:
        """NaN in one row of the vocabulary: the request that meets it says NUMERICS, and is not an error."""
        explanation = explain("poisoned word", text)
        assert flags(explanation) == all_maps(Reason.NUMERICS)
        assert explanation.effects == ()
        told = outcomes(explanation, RAW)
        assert told[CheckKind.INSTRUMENT] is told[CheckKind.REACH] is CheckOutcome.ERRORED

    def test_other_requests_to_the_same_weights_are_unharmed(self) -> None:
        """A request that never meets the poisoned word is answered as ever."""
        assert flags(explain("poisoned word", TEXT)) == dict.fromkeys(DEFAULT_MAPS, FAITHFUL)

    def test_counterfactuals_that_are_not_numbers_are_noticed(self) -> None:
        """The answer itself is fine, what it is compared with is not: NUMERICS, and nobody says "no effect"."""
        explanation = explain("poisoned mask", TEXT)
        assert math.isfinite(explanation.prediction.margin)
        assert flags(explanation) == all_maps(Reason.NUMERICS)
        assert outcomes(explanation, RAW)[CheckKind.REACH] is CheckOutcome.ERRORED

    def test_a_single_map_that_is_not_a_number_leaves_the_others_alone(self) -> None:
        """NaN in one map condemns nobody else."""
        found = flags(explain("selector", TEXT, redrawn(NORM, lambda s: s * np.nan)))
        assert found == dict.fromkeys(DEFAULT_MAPS, FAITHFUL) | {NORM: (Flag.INCONCLUSIVE, Reason.NUMERICS)}


class TestBudget:
    """Rows and deadlines that run out are answers, not errors."""

    @pytest.mark.parametrize("max_rows", [1, 2, 17, FIRST_LOOK - 1])
    def test_too_few_rows_for_a_look_check_nothing(self, max_rows: int) -> None:
        """Not even one look can be paid for: every check is skipped, every flag says BUDGET."""
        explanation = explain("selector", TEXT, max_rows=max_rows)
        assert flags(explanation) == all_maps(Reason.BUDGET)
        assert explanation.rows == 1
        assert set(outcomes(explanation, RAW).values()) == {CheckOutcome.SKIPPED}
        assert explanation.effects == ()

    def test_rows_for_one_look_decide_what_one_look_decides(self) -> None:
        """Clear maps keep their flags; a map that needs more looks says BUDGET."""
        explanation = explain("twin", TEXT, max_rows=FIRST_LOOK)
        found = flags(explanation)
        assert found[NORM] == found[GRADIENT] == FAITHFUL
        assert found[RAW] == found[ROLLOUT] == (Flag.INCONCLUSIVE, Reason.BUDGET)
        assert explanation.rows == FIRST_LOOK

    def test_looks_that_decided_were_not_cut(self) -> None:
        """Where every map is decided and only a witness could not be paid for, no look was cut."""
        with serving(toy("selector")) as harness:
            explanation = harness.explain(ask(TEXT, max_rows=FIRST_LOOK))
            ((_, looks, cut),) = harness.told.explanations
        assert flags(explanation) == dict.fromkeys(DEFAULT_MAPS, FAITHFUL)
        assert (looks, cut) == (1, None)

    @pytest.mark.parametrize("max_rows", range(FIRST_LOOK, 123, 7))
    def test_no_budget_is_ever_exceeded(self, max_rows: int) -> None:
        """Whatever was asked for is the most that is spent."""
        assert explain("twin", TEXT, max_rows=max_rows).rows <= max_rows

    def test_more_rows_never_change_a_flag_into_its_opposite(self) -> None:
        """A larger budget decides more; it does not decide otherwise."""
        found = [flags(explain("twin", LONG, max_rows=rows))[RAW] for rows in (10, 30, 50, 70, 122)]
        decided = {flag for flag in found if flag[0] is not Flag.INCONCLUSIVE}
        assert decided == {UNFAITHFUL}

    @pytest.mark.parametrize(
        ("deadline", "looks", "clear", "open_map"),
        [
            (0.020, 0, (Flag.INCONCLUSIVE, Reason.BUDGET), (Flag.INCONCLUSIVE, Reason.BUDGET)),
            (0.050, 1, FAITHFUL, (Flag.INCONCLUSIVE, Reason.BUDGET)),
        ],
    )
    def test_a_deadline_cuts_the_looks(
        self, deadline: float, looks: int, clear: tuple[Flag, Reason], open_map: tuple[Flag, Reason]
    ) -> None:
        """At a millisecond a row: what the time allows is decided, the rest says BUDGET, and the cause is told.

        How long a row takes is known from the question before, as it is from the rows that are tried at load.
        """
        clock = Clock(seconds_per_row=0.001)
        with serving(toy("twin"), clock=clock) as harness:
            harness.explain(ask(TEXT))
            begun = clock.now
            explanation = harness.explain(ask(TEXT, deadline=begun + deadline))
            _, (_, looked, cut) = harness.told.explanations
        assert (looked, cut) == (looks, Cut.DEADLINE)
        assert flags(explanation)[NORM] == clear
        assert flags(explanation)[RAW] == open_map
        assert clock.now <= begun + deadline


@dataclass(slots=True)
class Saboteur:
    """Lets some batches of checks pass, and breaks the next."""

    spare: int
    batches: int = 0

    def __call__(self, _: list[Row], results: list[RowResult]) -> list[RowResult]:
        """Fail once the spared batches are over."""
        self.batches += 1
        if self.batches > self.spare:
            message = "out of order"
            raise BackendError(message)
        return results


def breaking(which: Callable[[Row], bool], broken: Callable[[RowResult], RowResult]) -> Meddling:
    """Break the results of some rows."""
    return Meddling(
        rows=lambda rows, results: [
            broken(result) if which(row) else result for row, result in zip(rows, results, strict=True)
        ]
    )


class TestFailures:
    """What breaks under a check is no evidence, and no error for the caller."""

    def test_a_device_that_fails_under_the_first_look(self) -> None:
        """Nothing was measured: INSTRUMENT for every map, the prediction stands."""
        explanation = explain("selector", TEXT, Meddling(rows=Saboteur(spare=0)))
        assert flags(explanation) == all_maps(Reason.INSTRUMENT)
        assert outcomes(explanation, RAW)[CheckKind.INSTRUMENT] is CheckOutcome.ERRORED
        assert explanation.prediction.labels[explanation.prediction.predicted] == "yes"

    def test_a_device_that_fails_under_the_second_look(self) -> None:
        """What was decided before stays decided; what was open, or lost its counterexample checks, is INSTRUMENT."""
        found = flags(explain("twin", TEXT, Meddling(rows=Saboteur(spare=1))))
        assert found[NORM] == FAITHFUL
        assert found[RAW] == found[ROLLOUT] == found[GRADIENT] == (Flag.INCONCLUSIVE, Reason.INSTRUMENT)

    def test_instruments_that_crash_decide_nothing(self) -> None:
        """A backend that forgets the read-out state crashes the instrument check: no flag, in either direction."""
        meddling = breaking(lambda row: row.edit is AttentionEdit.UNIFORM, lambda r: replace(r, readout=None))
        explanation = explain("selector", TEXT, meddling)
        assert flags(explanation) == all_maps(Reason.INSTRUMENT)
        assert outcomes(explanation, RAW)[CheckKind.INSTRUMENT] is CheckOutcome.ERRORED

    def test_a_crash_of_reach_decides_nothing(self) -> None:
        """Logits of the wrong shape crash the check that asks whether the input matters at all."""
        explanation = explain("selector", TEXT, breaking(_all_removed, lambda r: replace(r, logits=r.logits[:1])))
        assert flags(explanation) == all_maps(Reason.INSTRUMENT)
        assert outcomes(explanation, RAW)[CheckKind.REACH] is CheckOutcome.ERRORED

    def test_a_crash_while_rewiring_is_judged_decides_nothing(self) -> None:
        """Draws without their maps cannot be judged: attention maps lose FAITHFUL, the others do not depend on it."""
        meddling = breaking(lambda row: row.edit is AttentionEdit.PERMUTED, lambda r: replace(r, maps={}))
        explanation = explain("selector", TEXT, meddling)
        assert outcomes(explanation, RAW)[CheckKind.REWIRING] is CheckOutcome.ERRORED
        assert flags(explanation)[RAW] == flags(explanation)[ROLLOUT] == (Flag.INCONCLUSIVE, Reason.INSTRUMENT)
        assert flags(explanation)[NORM] == flags(explanation)[GRADIENT] == FAITHFUL

    def test_a_crash_of_what_could_take_faithful_back_takes_it_back(self) -> None:
        """A map whose counterexample checks crashed was not tested against them: INSTRUMENT, and not recommended."""
        explanation = explain("selector", TEXT, Meddling(rows=Saboteur(spare=1)))
        assert flags(explanation)[GRADIENT] == (Flag.INCONCLUSIVE, Reason.INSTRUMENT)
        assert explanation.recommended_map is None

    def test_a_recommended_map_gets_its_witnesses_whatever_the_primary_map_is(self) -> None:
        """A primary map that is not a number does not spare the recommended one its counterexamples."""
        explanation = explain("selector", TEXT, redrawn(GRADIENT, lambda s: s * np.nan))
        assert explanation.primary_map is GRADIENT
        assert explanation.recommended_map is not None
        assert outcomes(explanation, explanation.recommended_map)[CheckKind.CONTRADICTION] is not CheckOutcome.SKIPPED
        assert explanation.decision_flip is not None

    def test_a_crash_of_the_witnesses_condemns_nobody(self) -> None:
        """Witness checks that crash are ERRORED; they neither accuse a map nor fail the request."""
        explanation = explain("selector", TEXT, Meddling(rows=Saboteur(spare=1)))
        told = outcomes(explanation, GRADIENT)
        assert told[CheckKind.OMISSION] is told[CheckKind.CONTRADICTION] is CheckOutcome.ERRORED
        assert told[CheckKind.SUPPORT] is told[CheckKind.DECISION_FLIP] is CheckOutcome.ERRORED
        assert explanation.decision_flip is None
        assert all(flag is not Flag.UNFAITHFUL for flag, _ in flags(explanation).values())


def _all_removed(row: Row) -> bool:
    return row.removed is not None and bool(row.removed.all())


class TestConflict:
    """Counterexamples found after the looks."""

    def contradicted(self, maps: tuple[MapKind, ...]) -> Explanation:
        """Explain with a model that, after the first look, minds losing its bottom and no longer its top."""
        untouched = explain("selector", TEXT)
        order = np.argsort(-scores(untouched, RAW), kind="stable")
        top, bottom = ({frozenset(part.tolist()) for part in parts} for parts in zip(*_parts(order), strict=True))
        seen = itertools.count()

        def rewrite(rows: list[Row], results: list[RowResult]) -> list[RowResult]:
            if next(seen) == 0:
                return results
            base = untouched.prediction.logits
            verdicts = {True: base, False: -base}
            return [
                replace(result, logits=verdicts[units in top]) if units in top | bottom else result
                for result, units in zip(results, map(_units, rows), strict=True)
            ]

        return explain("selector", TEXT, Meddling(rows=rewrite), maps=maps)

    def test_a_counterexample_takes_faithful_back(self) -> None:
        """FAITHFUL becomes CONFLICT, with the counterexample to replay; a cleared recommendation is not made again."""
        explanation = self.contradicted((RAW, ROLLOUT, GRADIENT))
        primary = explanation.primary.verdict
        assert (primary.flag, primary.reason) == (Flag.INCONCLUSIVE, Reason.CONFLICT)
        assert CheckKind.CONTRADICTION in {witness.kind for witness in primary.witnesses}
        assert explanation.recommended_map is None


def _parts(order: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for size in (1, 2):
        yield order[:size], order[-size:]


def _units(row: Row) -> frozenset[int]:
    return frozenset() if row.removed is None else frozenset(np.flatnonzero(row.removed).tolist())
