"""One input in the laboratory: the same answer as the service's, the truth against a slow reference, nothing twice."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from rollcall.backends.base import variants
from rollcall.checks.alignment import EffectEstimate, alignment_value, estimate_effects
from rollcall.checks.base import OPERATORS, Subject
from rollcall.domain.inputs import ImageInput, TextInput
from rollcall.domain.maps import DEFAULT_MAPS, MEASURED_MAPS, Floats, MapKind, UnitMap
from rollcall.domain.rows import IMAGE_REMOVALS, AttentionEdit, QueryScope, Row, RowResult
from rollcall.domain.verdicts import Flag, Reason, Scope
from rollcall.models.loading import LoadedModel, load_model
from rollcall.studies.cases import case_of, from_json, to_json
from rollcall.studies.laboratory import NAME, Laboratory
from rollcall.verdict.calibration import Calibration, Promise
from rollcall.verdict.policies import STANDARD
from rollcall.verdict.scan import outcome
from tests import toys
from tests.calibrations import calibration
from tests.harness import ask, serving
from tests.pictures import SIDE, make_vision_model, png
from tests.tiny import TEXT, make_model

SHORT = TextInput(text=" ".join([*toys.SALIENCE][:6]))
LONG = TextInput(text=" ".join([*toys.SALIENCE] * 3))


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    """A model whose attention is its mechanism."""
    return toys.selector()


@pytest.mark.parametrize(
    "calibrated", [None, calibration(c=0.0, longest=64), calibration(c=0.01, longest=64, prior=True)]
)
@pytest.mark.parametrize("text", [SHORT, LONG])
def test_it_answers_as_the_service_does(model: LoadedModel, text: TextInput, calibrated: Calibration | None) -> None:
    """Every flag, reason and A, the recommended map and the rows spent."""
    with serving(model, calibration=calibrated) as service:
        answer = service.explain(ask(text.text))
    found = Laboratory(model=model, policy=STANDARD, calibration=calibrated).measure(text)
    assert {a.map.kind: (a.verdict.flag, a.verdict.reason, a.verdict.alignment) for a in answer.attributions} == {
        m.assessment.map.kind: (m.ruling.flag, m.ruling.reason, m.assessment.alignment) for m in found.served.maps
    }
    assert answer.recommended_map is found.served.recommended
    assert answer.rows == found.rows


@pytest.mark.parametrize("prior", [False, True])
def test_a_model_that_cannot_be_opened_is_measured_as_it_is_served(tmp_path: Path, prior: bool) -> None:  # noqa: FBT001 - a table
    """By removals alone, with the calibration's primary map and widths and, where it says so, a gradient as a prior."""
    model = load_model(make_vision_model("clip", tmp_path), max_units=16)
    picture = ImageInput(data=png(np.random.default_rng(0).integers(0, 255, size=(SIDE, SIDE, 3))))
    promised = dict.fromkeys(MEASURED_MAPS, Promise(c=0.02))
    calibrated = calibration(primary_map=MapKind.LEAVE_ONE_OUT, promises=promised, longest=64, prior=prior)
    with serving(model, calibration=calibrated) as service:
        answer = service.explain(ask("", input=picture))
        both = service.explain(ask("", input=picture, maps=MEASURED_MAPS))
    assert (answer.primary_map, len(answer.attributions)) == (MapKind.LEAVE_ONE_OUT, 1)
    kinds = (*MEASURED_MAPS, MapKind.INTEGRATED_GRADIENTS)
    measured = Laboratory(model=model, policy=STANDARD, calibration=calibrated, kinds=kinds).measure(picture)
    assert measured.subject.scope is Scope.INPUT_ONLY
    found = {m.assessment.map.kind: m for m in measured.served.maps}
    for attribution in (*answer.attributions, *both.attributions):
        mine, theirs = found[attribution.map.kind], attribution.verdict
        assert (mine.ruling.flag, mine.ruling.reason) == (theirs.flag, theirs.reason)
        assert theirs.calibration.id == "cal"
        ours, served = mine.assessment.alignment, theirs.alignment
        assert ours is not None
        assert served is not None
        assert (ours.width, ours.removals, ours.prior) == (served.width, served.removals, served.prior)
        assert ours.value == pytest.approx(served.value, abs=1e-5)  # batches of another size round otherwise
        assert served.prior is (prior and attribution.map.kind is MapKind.LEAVE_ONE_OUT)
    assert not len(measured.same)
    assert case_of(measured, 0).same == ()


def test_the_truth_of_few_words_is_that_of_all_their_subsets(model: LoadedModel) -> None:
    """Against a ridge written out in numpy, on margins of every subset under both operators, run one by one."""
    found = Laboratory(model=model, policy=STANDARD).measure(SHORT)
    n = found.subject.n
    subsets = [np.array(one, dtype=np.bool_) for one in product((False, True), repeat=n)]
    engine = Laboratory(model=model, policy=STANDARD).engine
    design, margins = [], []
    for removed in subsets:
        for side, operator in zip((-0.5, 0.5), OPERATORS, strict=True):
            (row,) = engine.run(NAME, variants(found.subject.encoding, [Row(removed=removed, operator=operator)]))
            margins.append(float(row.logits[found.subject.decision.target] * 2))
            design.append([*removed.astype(float), side])
    x, y = np.array(design), np.array(margins)
    x, y = x - x.mean(axis=0), y - y.mean()
    penalty = np.diag([0.1] * n + [0.0])
    effects = -np.linalg.solve(x.T @ x + penalty, x.T @ y)[:n]
    assert found.effects is not None
    assert found.truth_rows == 2 ** (n + 1)
    np.testing.assert_allclose(found.effects.effects, effects, rtol=0.02, atol=0.02)


def test_every_look_is_run_to_the_end(model: LoadedModel) -> None:
    """Also where the service decides at once: what would have happened under other widths is known."""
    found = Laboratory(model=model, policy=STANDARD).measure(LONG)
    assert found.subject.n > 6
    for trail in found.trails.values():
        assert [look.alignment.removals for look in trail if look.alignment] == [16, 32, 48]
    assert len(found.margins) == 48
    assert len(found.same) == sum(STANDARD.rewiring_draws)


def test_with_the_policys_widths_a_replay_gives_what_was_served(model: LoadedModel) -> None:
    """Up to witnesses, which a replay does not ask."""
    for text in (SHORT, LONG):
        found = case_of(Laboratory(model=model, policy=STANDARD).measure(text), 0)
        for name, one in found.maps.items():
            steps = found.recorded(STANDARD, prior=False).steps[name]
            again = outcome(steps, STANDARD.widths, STANDARD, calibrated=False)
            assert one.served is not None
            assert one.served == again.ruling or one.served.reason is Reason.CONFLICT
            assert one.served_removals == again.removals


def test_with_the_prior_the_looks_are_others_and_the_rows_the_same(model: LoadedModel) -> None:
    """The first look of 8, and after 16, 32 and 48 removals the rows of the looks without it."""
    kinds = (*DEFAULT_MAPS, MapKind.INTEGRATED_GRADIENTS)
    found = Laboratory(model=model, policy=STANDARD, kinds=kinds).measure(LONG)
    assert set(found.with_prior) == {kind.value for kind in DEFAULT_MAPS}
    assert found.prior is not None
    for name, trail in found.with_prior.items():
        assert [look.alignment.removals for look in trail if look.alignment] == [8, 16, 32, 48]
        assert all(look.alignment.prior for look in trail if look.alignment)
        for look, rows in zip(trail, (8, 16, 32, 48), strict=True):
            known = estimate_effects(
                found.removed[:rows], found.operators[:rows], found.margins[:rows], prior=found.prior
            )
            assert known is not None
            assert look.alignment is not None
            assert look.alignment.value == pytest.approx(alignment_value(found.maps[name], known.effects))


def test_maps_that_nobody_serves_are_judged_on_the_same_rows(model: LoadedModel) -> None:
    """A map handed in is judged as the model's own would be, and is never recommended."""

    def extra(subject: Subject, maps: tuple[UnitMap, ...], effects: EffectEstimate | None) -> dict[str, Floats]:
        assert effects is not None
        assert len(effects.effects) == subject.n
        return {"copy": maps[0].scores, "reversed": maps[0].scores[::-1]}

    found = case_of(Laboratory(model=model, policy=STANDARD).measure(LONG, extra), 3)
    own, copy = found.maps[DEFAULT_MAPS[0].value], found.maps["copy"]
    assert copy.served is None
    assert copy.truth == own.truth
    assert [look.evidence.alignment for look in copy.looks] == [look.evidence.alignment for look in own.looks]
    assert found.maps["reversed"].truth is not None
    assert found.maps["reversed"].truth.alignment < 0


def test_a_constant_model_has_no_reach() -> None:
    """Where nothing moves the decision no map can be right or wrong."""
    found = Laboratory(model=toys.constant(), policy=STANDARD).measure(LONG)
    assert not found.reached
    assert {m.ruling.reason for m in found.served.maps} == {Reason.NO_EFFECT}


def test_a_fault_can_be_injected(model: LoadedModel) -> None:
    """NaN in the rows of one operator: everything is INCONCLUSIVE, nothing crashes."""

    def poison(result: RowResult, row: Row, _: RowResult) -> RowResult:
        return replace(result, logits=result.logits * np.nan) if row.removed is not None else result

    found = Laboratory(model=model, policy=STANDARD, tamper=poison).measure(LONG)
    assert {m.ruling.flag for m in found.served.maps} == {Flag.INCONCLUSIVE}
    assert {m.ruling.reason for m in found.served.maps} == {Reason.NUMERICS}
    assert all(truth.alignment == 0 for truth in found.truths.values())


def test_rows_that_differ_in_any_way_are_run_each(model: LoadedModel) -> None:
    """What is remembered of one row is not given out for another: other heads, other biases, other units' edges."""
    bench = Laboratory(model=model, policy=STANDARD).open(LONG)
    shape = model.backend.shape
    biases = [np.full((shape.layers, shape.heads, bench.subject.encoding.length), 0.0) for _ in range(2)]
    biases[1][:, :, 1] = 8.0
    pairs = [
        [Row(edit=AttentionEdit.BIASED, bias=bias) for bias in biases],
        [Row(edit=AttentionEdit.SILENCED, layers=(0,), heads=heads) for heads in ((), tuple(range(shape.heads)))],
        [
            Row(edit=AttentionEdit.CUT, units=bench.subject.selection(units))
            for units in ((), tuple(range(bench.subject.n)))
        ],
        [Row(edit=AttentionEdit.PERMUTED, seed=3, queries=queries) for queries in QueryScope],
    ]
    for pair in pairs:
        together = [result.logits for result in bench.run(pair)]
        engine = bench.laboratory.engine
        alone = [engine.run(NAME, variants(bench.subject.encoding, [row]))[0].logits for row in pair]
        np.testing.assert_allclose(together, alone, atol=1e-5)
        assert len(bench.done) == 2 * (pairs.index(pair) + 1)
    first, second = bench.run(pairs[0])
    assert not np.allclose(first.logits, second.logits)


def test_without_truth_nothing_more_is_run_than_the_looks(model: LoadedModel) -> None:
    """What an assessment asks for: flags, not whether they are right."""
    found = case_of(Laboratory(model=model, policy=STANDARD).measure(LONG, truth=False), 0)
    assert found.truth_rows == 0
    assert all(one.truth is None for one in found.maps.values())
    with pytest.raises(ValueError, match="without truth"):
        found.recorded(STANDARD, prior=False)


@pytest.mark.parametrize("text", ["one", "SHORT", "LONG"])
def test_a_case_survives_its_journal(tmp_path: Path, text: str) -> None:
    """Every map of a real encoder, on one word and on many, written and read back, is the same."""
    model = load_model(make_model("bert", tmp_path / "m"))
    words = {"one": "film", "SHORT": "a dull film", "LONG": TEXT}[text]
    laboratory = Laboratory(model=model, policy=STANDARD, kinds=model.maps)
    found = case_of(laboratory.measure(TextInput(text=words)), 5)
    written = json.dumps(to_json(found))
    assert from_json(json.loads(written)) == found
    assert words not in written
    if found.units > 6:
        assert set(found.maps) == {kind.value for kind in model.maps}
        assert len(found.prior) == found.units


def test_the_first_guess_at_the_effects_is_kept(model: LoadedModel) -> None:
    """The half-way gradient of a model that is nearly linear in its words correlates with their effects."""
    found = Laboratory(model=model, policy=STANDARD, kinds=(*DEFAULT_MAPS, MapKind.EFFECT)).measure(LONG)
    assert found.prior is not None
    assert found.effects is not None
    assert np.corrcoef(found.prior, found.effects.effects)[0, 1] > 0.8
    assert "effect" in found.maps


def test_pictures_are_measured_by_their_own_operators(tmp_path: Path) -> None:
    """The truth about a picture's maps rests on its own two ways to remove, and a case tells them apart."""
    model = load_model(make_vision_model("vit", tmp_path), max_units=4)
    picture = ImageInput(data=png(np.random.default_rng(0).integers(0, 255, size=(SIDE, SIDE, 3))))
    measured = Laboratory(model=model, policy=STANDARD).measure(picture)
    assert set(measured.operators) == set(IMAGE_REMOVALS.usual)
    assert set(case_of(measured, 0).operators) == {0, 1}
    assert measured.truths.keys() == measured.maps.keys()
