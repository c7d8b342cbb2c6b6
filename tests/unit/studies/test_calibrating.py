"""From cases to a calibration: promises of every map and of the recommended one, and what held-out halves give."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from rollcall.domain.maps import MapKind
from rollcall.domain.verdicts import CheckKind, CheckOutcome
from rollcall.studies.calibrating import (
    CHOOSING_SHARE,
    RECOMMENDED,
    CalibratingError,
    answer_removals,
    calibrate,
    calibration_file,
    choose_primary,
    fit,
    given,
    held_out,
    operator_correlation,
    p_value_size,
    replay_all,
    usual_maps,
)
from rollcall.studies.cases import Case, LookAt, MapCase
from rollcall.verdict.calibration import parse_calibration
from rollcall.verdict.policies import STANDARD
from rollcall.verdict.truth import Truth
from tests.unit.verdict.test_scan import steps

GOOD, BAD = MapKind.GRADIENT_ROLLOUT.value, MapKind.RAW_ATTENTION.value
N = 8


def case(
    number: int,
    random: np.random.Generator,
    *,
    noise: float = 0.2,
    extra: bool = True,
    prior_noise: float | None = None,
) -> Case:
    """An input with linear margins, a map that is mostly right, one that is mostly wrong, and one on request.

    With a prior A scatters by `prior_noise`; without gradients there is none.
    """
    truths = {GOOD: random.uniform(0.4, 1.0), BAD: random.uniform(-1.0, 0.6)}
    if extra:
        truths[MapKind.EFFECT.value] = random.uniform(0.2, 1.0)
    effects = random.normal(size=N)
    removed = np.array([random.permutation(N) < N // 2 for _ in range(48)])
    margins = 1 - removed @ effects + 0.05 * random.normal(size=48)

    def looks(truth: float, scatter: float, removals: tuple[int, ...]) -> tuple[LookAt, ...]:
        trail = steps(*(float(truth + scatter / (1 + i) * random.normal()) for i in range(len(removals))))
        return tuple(
            LookAt(evidence=step.evidence, removals=rows, p_up=0.5, p_low=0.5, per_operator=())
            for step, rows in zip(trail, removals, strict=True)
        )

    def seen(name: str, truth: float) -> MapCase:
        helped = prior_noise is not None and name != MapKind.EFFECT.value
        return MapCase(
            weights=(1 / N,) * N,
            jsd_from_uniform=0.1,
            looks=looks(truth, noise, (16, 32, 48)),
            with_prior=looks(truth, prior_noise or 0.0, (8, 16, 32, 48)) if helped else (),
            truth=Truth(alignment=truth, omits_top_effect=False),
            served=None,
            served_removals=0,
            outcomes={CheckKind.REWIRING: CheckOutcome.SUPPORTS},
        )

    return Case(
        number=number,
        units=int(random.integers(N, N + 1)),
        tokens=N + 2,
        predicted=0,
        margin=1.0,
        reached=True,
        removed=tuple("".join(map(str, row.astype(int))) for row in removed),
        operators=(0, 1) * 24,
        margins=tuple(margins.tolist()),
        same=(True, False, False, False),
        prior=(),
        true_effects=tuple(effects.tolist()),
        truth_rows=512,
        recommended=None,
        served_rows=60,
        seconds=0.1,
        maps={name: seen(name, truth) for name, truth in truths.items()},
    )


def cases(n: int, seed: int = 0, **how: Any) -> list[Case]:  # noqa: ANN401 - of `case`
    """Independent inputs."""
    random = np.random.default_rng(seed)
    return [case(i, random, **how) for i in range(n)]


def test_every_map_keeps_its_promise_and_the_usual_ones_that_of_the_recommended() -> None:
    """The c of a usual map is the wider of its own and the recommended map's; a map on request has its own."""
    replayed = replay_all(cases(400), STANDARD, prior=False)
    cs = fit(replayed, alpha=0.05, confidence=0.9)
    assert set(cs) == {GOOD, BAD, MapKind.EFFECT.value, RECOMMENDED}
    least = cs[RECOMMENDED]
    assert least is not None
    for name in (GOOD, BAD):
        c = cs[name]
        assert c is not None
        assert c >= least
    for name in cs:
        wrong = int(given(replayed, name, cs).wrong.sum())
        assert binom.cdf(wrong, 400, 0.05) <= 0.1


@pytest.mark.parametrize(("prior_noise", "helps"), [(0.02, True), (1.5, False), (None, False)])
def test_a_prior_is_used_where_it_brings_the_flags_nearer_to_the_truth(prior_noise: float | None, helps: bool) -> None:  # noqa: FBT001
    """A good one is, a bad one is not, and a backend without gradients has none."""
    inputs = cases(300, prior_noise=prior_noise)
    found = calibrate(inputs, STANDARD, alpha=0.05, confidence=0.9, seed=0)
    assert found["prior"]["used"] is helps
    assert (found["prior"]["errors_of_alignment"]["with"] is None) == (prior_noise is None)
    plain = calibrate(cases(300), STANDARD, alpha=0.05, confidence=0.9, seed=0)
    assert (found["answers"]["removals"] < plain["answers"]["removals"] - 8) is helps


def test_maps_that_a_prior_may_not_judge_are_judged_without_it() -> None:
    """A map made of gradients has the same steps whether or not the others have help."""
    one = cases(1, prior_noise=0.1)[0]
    plain, helped = one.recorded(STANDARD, prior=False), one.recorded(STANDARD, prior=True)
    effect = MapKind.EFFECT.value
    assert helped.prior == {GOOD, BAD}
    assert helped.steps[effect] == plain.steps[effect]
    assert [step.removals for step in helped.steps[GOOD]] == [8, 16, 32, 48]
    assert [step.width_index for step in helped.steps[GOOD]] == [0, 1, 2, 3]
    assert [step.width_index for step in plain.steps[GOOD]] == [0, 1, 2]


def test_a_map_that_some_inputs_lack_is_calibrated_on_the_others() -> None:
    """EFFECT has no second look on short texts, and so no flag there."""
    mixed = [*cases(100), *cases(60, seed=1, extra=False)]
    replayed = replay_all(mixed, STANDARD, prior=False)
    assert len(replayed[MapKind.EFFECT.value].truths) == 100
    assert len(replayed[GOOD].truths) == 160
    some = np.arange(160) % 2 == 0
    assert replayed[MapKind.EFFECT.value].of(some).numbers.tolist() == list(range(0, 100, 2))
    assert MapKind.EFFECT.value in held_out(replayed, 160, alpha=0.2, confidence=0.9, seed=0)


def test_maps_that_keep_no_promise_have_no_c_and_are_not_recommended() -> None:
    """Too few inputs for any promise: FAILED for all, and default widths in what is said of held-out inputs."""
    replayed = replay_all(cases(30), STANDARD, prior=False)
    cs = fit(replayed, alpha=0.02, confidence=0.9)
    assert set(cs.values()) == {None}
    assert given(replayed, GOOD, cs).removals.tolist() == replayed[GOOD].default.removals[:, 0].tolist()


def test_held_out_halves_break_the_promise_as_rarely_as_it_says() -> None:
    """Realised error over the splits: mostly below alpha."""
    found = held_out(replay_all(cases(400), STANDARD, prior=False), 400, alpha=0.05, confidence=0.9, seed=0)
    for name in (GOOD, BAD, RECOMMENDED):
        rates = found[name]
        assert rates["inputs"] == 200
        assert 0 < rates["wrong"] <= 0.05
        assert rates["splits_above_alpha"] < 0.2
        assert rates["wrong"] <= rates["wrong_95th_percentile_of_splits"] < 0.09
        low, high = rates["wrong_faithful_interval_95"]
        assert low <= rates["wrong_faithful"] <= high


def test_an_answer_takes_as_many_removals_as_its_slowest_map() -> None:
    """Looks go on until every usual map is decided; maps on request are not among them here."""
    replayed = replay_all(cases(50), STANDARD, prior=False)
    cs = fit(replayed, alpha=0.2, confidence=0.9)
    both = np.stack([given(replayed, name, cs).removals for name in (GOOD, BAD)])
    assert answer_removals(replayed, cs).tolist() == both.max(axis=0).tolist()


def test_the_primary_map_is_the_one_that_is_right_most_often() -> None:
    """And a usual one: a map that must be asked for is never the answer's by default."""
    assert choose_primary(cases(50), STANDARD) is MapKind(GOOD)
    only = [replace(one, maps={"input_x_gradient": one.maps["effect"]}) for one in cases(5)]
    with pytest.raises(CalibratingError, match="usual"):
        choose_primary(only, STANDARD)


def test_of_a_model_that_cannot_be_opened_the_maps_made_of_removals_are_the_usual_ones() -> None:
    """They are recommended from, and one of them is primary; beside maps of attention they never are."""
    assert usual_maps(["effect", "raw_attention", "leave_one_out"]) == ("raw_attention",)
    assert usual_maps(["input_x_gradient", "effect", "leave_one_out"]) == ("leave_one_out", "effect")
    renamed = {GOOD: "effect", BAD: "leave_one_out"}
    inputs = [
        replace(one, same=(), maps={renamed[name]: found for name, found in one.maps.items()})
        for one in cases(300, extra=False)
    ]
    found = calibrate(inputs, STANDARD, alpha=0.05, confidence=0.9, seed=0)
    assert found["primary_map"] == "effect"
    assert found["recommended"]["held_out"]["faithful"] > 0
    assert found["answers"]["removals"] > 0
    assert "rewiring" not in found["measured"]


def test_what_chose_the_primary_map_does_not_calibrate_it() -> None:
    """The first fifth chooses, the rest promises; inputs without reach count as tried only."""
    inputs = cases(300)
    unreached = [replace(one, reached=False) for one in cases(20, seed=9)]
    found = calibrate([*unreached, *inputs], STANDARD, alpha=0.05, confidence=0.9, seed=0)
    assert (found["tried"], found["with_reach"], found["inputs"]) == (320, 300, 300 - round(CHOOSING_SHARE * 300))
    assert found["maps"][GOOD]["promises"][0]["inputs"] == 240
    assert [one["alpha"] for one in found["maps"][GOOD]["promises"]] == [0.05, 0.05, 0.02, 0.02]
    assert found["measured"]["reach"] == {"with_reach": 300, "tried": 320, "share": 300 / 320}
    assert found["measured"]["rewiring"]["same_answer"] == 0.25


def test_too_few_inputs_are_no_calibration() -> None:
    """Said, with how many there were."""
    with pytest.raises(CalibratingError, match="10 inputs with reach among 10"):
        calibrate(cases(10), STANDARD, alpha=0.05, confidence=0.9, seed=0)


def test_the_file_is_what_the_service_reads() -> None:
    """Written and read back, for these weights, this policy and this precision; its id depends on all of it."""
    found = calibrate(cases(300), STANDARD, alpha=0.05, confidence=0.9, seed=0)

    def file(**data: str) -> dict[str, Any]:
        return calibration_file(
            found,
            model={"digest": "sha256:m", "dtype": "float32", "noise_floor": 1e-7},
            policy=STANDARD,
            data={"name": "reviews/test.tsv", "digest": "sha256:d", "task": "reviews", "seed": 0} | data,
            created=datetime(2026, 11, 25, tzinfo=UTC),
        )

    read = parse_calibration(file(), model_digest="sha256:m", policy=STANDARD)
    assert read.id.startswith("reviews-test-")
    assert read.primary_map is MapKind(GOOD)
    assert set(read.promises) == {MapKind(name) for name in found["maps"]}
    assert read.promises[MapKind(GOOD)].c == found["maps"][GOOD]["c"]
    assert (read.inputs, read.shortest, read.longest) == (240, N, N)
    assert file(digest="sha256:e")["id"] != read.id
    assert file()["id"] == read.id


def test_operators_that_see_the_same_effects_correlate() -> None:
    """And one that sees nothing has no correlation."""
    one = cases(1)[0]
    assert operator_correlation(one) == pytest.approx(1, abs=0.1)
    silent = [1.0 if operator else margin for operator, margin in zip(one.operators, one.margins, strict=True)]
    assert operator_correlation(replace(one, margins=tuple(silent))) is None


def test_random_maps_have_p_values_of_the_right_size() -> None:
    """P <= .05 for one in twenty."""
    found = p_value_size(cases(100), STANDARD, seed=0)
    assert found["random_maps"] == 2000
    low, high = found["at_most_0.05"]["interval_95"]
    assert low <= 0.05 <= high
