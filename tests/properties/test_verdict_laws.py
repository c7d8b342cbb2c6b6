"""What a verdict must not depend on, and what more evidence may not do to it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rollcall
from rollcall.backends.torch_backend import TorchBackend
from rollcall.checks.alignment import alignment_value, estimate_effects, plan_looks
from rollcall.checks.stratified_null import stratified_p_value, within_strata
from rollcall.domain.explanation import Explanation
from rollcall.domain.maps import Floats
from rollcall.domain.policy import Policy, ThoroughPolicy
from rollcall.domain.verdicts import CheckLevel, CheckOutcome, Flag
from rollcall.models.loading import LoadedModel
from rollcall.verdict.decide import MapEvidence, decide
from rollcall.verdict.policies import STANDARD, THOROUGH
from tests.harness import ask, serving
from tests.tiny import TEXT, Zoo

PROMISE = 0.05
"""Largest share of flags that may be wrong where nothing is calibrated (DESIGN section 6)."""


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """Tiny models."""
    return Zoo(root=tmp_path_factory.mktemp("zoo"))


# --- names of classes -------------------------------------------------------------------------------------------------


@contextmanager
def renamed(model: LoadedModel, order: tuple[int, ...]) -> Iterator[LoadedModel]:
    """The same model with its classes in another order, for the length of a `with` block."""
    assert isinstance(model.backend, TorchBackend)
    head = model.backend._model.classifier
    weight, bias = head.weight.data.clone(), head.bias.data.clone()
    try:
        head.weight.data.copy_(weight[list(order)])
        head.bias.data.copy_(bias[list(order)])
        yield replace(model, labels=tuple(model.labels[i] for i in order))
    finally:
        head.weight.data.copy_(weight)
        head.bias.data.copy_(bias)


def rulings(explanation: Explanation) -> list[object]:
    """What people read of each map."""
    return [
        (
            each.map.kind,
            each.verdict.flag,
            each.verdict.reason,
            None if each.verdict.alignment is None else round(each.verdict.alignment.value, 4),
            [(check.kind, check.outcome, check.statistic) for check in each.verdict.checks],
        )
        for each in explanation.attributions
    ]


@pytest.mark.parametrize("level", [CheckLevel.STANDARD, CheckLevel.THOROUGH])
def test_a_relabelling_of_the_classes_changes_no_verdict(zoo: Zoo, level: CheckLevel) -> None:
    """Which number a class has is a matter of bookkeeping: flags, alignments and thorough results stay."""
    model = zoo["bert"].loaded
    found = []
    for order in permutations(range(len(model.labels))):
        with renamed(model, order) as other, serving(other) as served:
            explanation = served.explain(ask(TEXT, check_level=level))
        label = explanation.prediction.labels[explanation.prediction.predicted]
        effects = [round(effect.effect, 4) for effect in explanation.effects]
        found.append((label, effects, rulings(explanation)))
    assert all(each == found[0] for each in found)


# --- more rows --------------------------------------------------------------------------------------------------------


def flag_of(weights: Floats, removed: Floats, operators: object, margins: Floats, look: int) -> Flag | None:
    """The flag of a map by the rule alone, after a look of the standard policy; None while it is open."""
    estimate = estimate_effects(removed.astype(np.bool_), operators, margins)  # type: ignore[arg-type] # passed on
    value = None if estimate is None else alignment_value(weights, estimate.effects)
    evidence = MapEvidence(
        finite=True,
        instrument=CheckOutcome.SUPPORTS,
        reach=CheckOutcome.SUPPORTS,
        flat=False,
        alignment=value,
        width=STANDARD.widths[look],
        reliability=estimate.reliability if estimate else 0.0,
        calibrated=False,
        may_omit_top_effect=False,
        rewiring=CheckOutcome.SKIPPED,
        operators_disagree=False,
        last=False,
        cut=False,
    )
    ruling = decide(evidence, STANDARD)
    return None if ruling is None else ruling.flag


def test_more_rows_hardly_ever_turn_a_decided_flag_round() -> None:
    """Of flags decided at one look, at most the promised share is the opposite by all looks' rows."""
    generator = np.random.default_rng(11)
    decided = turned = 0
    for case in range(400):
        n = int(generator.integers(8, 25))
        effects = generator.standard_t(3, size=n)
        weights = np.abs(generator.uniform() * effects.clip(min=0) + generator.exponential(0.7, size=n))
        noise = generator.uniform(0.1, 1.0) * np.abs(effects).sum() / n
        looks = plan_looks(n, case, STANDARD)
        removed = np.concatenate([look.removed for look in looks]).astype(np.float64)
        operators = tuple(operator for look in looks for operator in look.operators)
        margins = 3.0 - removed @ effects + generator.normal(0, noise, size=len(removed))
        ends = np.cumsum([len(look.removed) for look in looks]).tolist()
        flags = [
            flag_of(weights, removed[:end], operators[:end], margins[:end], number) for number, end in enumerate(ends)
        ]
        first = next((flag for flag in flags[:-1] if flag in {Flag.FAITHFUL, Flag.UNFAITHFUL}), None)
        if first is None:
            continue
        decided += 1
        turned += flags[-1] in {Flag.FAITHFUL, Flag.UNFAITHFUL} and flags[-1] is not first
    assert decided > 100
    assert turned <= PROMISE * decided


# --- p-values ---------------------------------------------------------------------------------------------------------


@given(st.integers(2, 6), st.integers(0, 10**6))
def test_stratified_p_values_agree_with_exact_enumeration(n: int, seed: int) -> None:
    """For up to six words, with the share of all relabellings within the strata, within four standard errors."""
    generator = np.random.default_rng(seed)
    weights, effects = generator.exponential(size=n), generator.normal(size=n)
    strata = generator.integers(0, 3, size=n)
    kept = [list(order) for order in permutations(range(n)) if (strata[list(order)] == strata).all()]
    exact = float(np.mean([weights[order] @ effects >= weights @ effects - 1e-9 for order in kept]))
    found = stratified_p_value(weights, effects, strata, THOROUGH.permutations, seed)
    spread = np.sqrt(exact * (1 - exact) / THOROUGH.permutations)
    assert abs(found - exact) <= 4 * spread + 2 / (1 + THOROUGH.permutations)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=20), st.integers(0, 10**6))
def test_relabellings_keep_the_multiset_of_every_stratum(groups: list[int], seed: int) -> None:
    """Whatever the strata are, weights stay within theirs."""
    strata = np.array(groups, dtype=np.int64)
    drawn = within_strata(strata, 20, seed)
    assert (np.sort(drawn, axis=1) == np.arange(len(strata))).all()
    assert (strata[drawn] == strata).all()


# --- thresholds -------------------------------------------------------------------------------------------------------

DECIDING = ("checks", "verdict", "pipeline/checking.py", "pipeline/thorough.py", "pipeline/attributions.py")
ROUNDING = 1e-9
"""Smaller numbers are about floating point, not about flags."""
STRUCTURE = {0.0, 1.0}


def literals() -> Iterator[tuple[str, int, float]]:
    """Fractional numbers inside of functions of the rooms that measure and decide: file, line, number."""
    root = Path(rollcall.__file__).parent
    for place in DECIDING:
        for path in sorted((root / place).glob("*.py")) or [root / place]:
            for function in ast.walk(ast.parse(path.read_text())):
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                    for node in ast.walk(function):
                        if isinstance(node, ast.Constant) and isinstance(node.value, float):
                            yield path.name, node.lineno, node.value


def test_no_threshold_is_written_outside_of_the_policies() -> None:
    """What turns a number into a finding is a value of a policy, with an id and a digest."""
    assert [each for each in literals() if each[2] not in STRUCTURE and abs(each[2]) > ROUNDING] == []


def test_every_number_of_a_policy_is_in_its_digest() -> None:
    """Changing any threshold makes another policy."""
    for policy in (STANDARD, THOROUGH):
        for name, value in policy.thresholds().items():
            field, _, index = name.partition(".")
            old = getattr(policy, field)
            changed = tuple(v + (i == int(index)) for i, v in enumerate(old)) if index else type(old)(value + 1)
            change: dict[str, Any] = {field: not old if isinstance(old, bool) else changed}
            other: Policy | ThoroughPolicy = replace(policy, **change)
            assert other.digest != policy.digest
