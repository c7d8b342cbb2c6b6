"""The thorough checks of one explanation, after its flags stand: numbers and witnesses, never a verdict.

In phases, so that a budget that runs out takes from the end: first what is measured once for all maps, and knock-outs
of the maps that matter; then the adversaries; then erasure of the maps that matter; then the other maps. A row that
several checks ask for is run once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rollcall.admission.budget import Budget
from rollcall.checks.adversary import adversary, not_searched
from rollcall.checks.alignment import estimate_effects
from rollcall.checks.base import WAYS, Asking, Subject, WitnessFinding, WitnessSubject
from rollcall.checks.erasure import Curve, Limits, curve, judge_erasure
from rollcall.checks.heads import heads
from rollcall.checks.knock_out import TRIALS, knock_out
from rollcall.checks.masking import MaskFinding, mask_count, masking
from rollcall.checks.operator_rule import operator_rule
from rollcall.checks.rank_agreement import GRADIENT, LEAVE_ONE_OUT, rank_agreement, single_drops
from rollcall.checks.rewiring_scopes import EVERYBODY, SCOPES, ScopeFinding, judge_scopes, rewiring_scopes
from rollcall.checks.stratified_null import stratified_null
from rollcall.checks.support import support_set
from rollcall.domain.compute import FORWARDS_PER_STEP, Search
from rollcall.domain.errors import DeviceMemory, ServiceError
from rollcall.domain.maps import REWIRED_MAPS, Floats, MapKind, UnitMap
from rollcall.domain.model import ModelCard
from rollcall.domain.policy import ThoroughPolicy
from rollcall.domain.rows import Row, RowResult
from rollcall.domain.seeds import derived_seed
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult, Scope, Witness
from rollcall.pipeline.lockstep import OutOfBudgetError, RunRows, run_together
from rollcall.telemetry import logs

_log = logging.getLogger(__name__)

RunSearch = Callable[[Search], Awaitable[list[Floats]]]
"""Runs an adversary's search; raises OutOfBudgetError where the budget does not allow it, or not its end."""

TURN_ROWS = 64
"""Rows that are asked for at once: progress is told, and others get in, after so many."""
USUAL_DRAWS = 40
"""Random sets that a knock-out takes on average."""
ORDER = "order of the effects"


class OutOfScopeError(Exception):
    """A check that edits attention, of a model whose attention is not open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThoroughFinding:
    """Results and witnesses by map: of what is measured once, results with every map and witnesses with the first."""

    checks: Mapping[MapKind, tuple[CheckResult, ...]]
    witnesses: Mapping[MapKind, tuple[Witness, ...]]


@dataclass(slots=True, kw_only=True)
class OnceRun:
    """Runs each different row once, a few at a time, as long as there is time.

    `known`: results by what was done to the input.
    """

    run: RunRows
    affords: Callable[[int], bool]
    known: dict[tuple[object, ...], RowResult] = field(default_factory=dict)

    async def __call__(self, rows: list[Row]) -> list[RowResult]:
        """Results of rows, in their order; raises OutOfBudgetError, and what running them raises."""
        new = {row.key: row for row in rows if row.key not in self.known}
        keys = list(new)
        for start in range(0, len(keys), TURN_ROWS):
            part = keys[start : start + TURN_ROWS]
            if start and not self.affords(len(part)):  # it takes longer than was expected when it began
                raise OutOfBudgetError([self.known.get(row.key) for row in rows])
            self.known.update(zip(part, await self.run([new[key] for key in part]), strict=True))
        return [self.known[row.key] for row in rows]


def planned_rows(n: int, maps: Collection[MapKind], card: ModelCard, policy: ThoroughPolicy) -> int:
    """About as many rows as thorough checks of `n` units take where no budget ends them."""
    heads = card.layers * card.heads
    shared = mask_count(n, policy) + len(SCOPES) * policy.scope_draws + WAYS * n
    shared += heads if heads <= policy.head_rows else 0
    searched = FORWARDS_PER_STEP * policy.adversary_restarts * policy.adversary_steps
    searched *= len(set(maps).intersection(REWIRED_MAPS))
    own = 2 * n + len(TRIALS) * USUAL_DRAWS
    return shared + searched + own * len(maps)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThoroughChecker:
    """Runs the thorough checks on one subject. `maps`: those that matter, the `first`, before the others.

    `attention` [n]: RAW_ATTENTION, None where attention is not open; `gradient` [n]: signed gradient times input, None
    where the backend has none; `search` runs an adversary's search.
    """

    subject: Subject
    maps: tuple[UnitMap, ...]
    first: int
    attention: Floats | None = field(repr=False)
    gradient: Floats | None = field(repr=False)
    layers: int
    heads: int
    policy: ThoroughPolicy
    run: RunRows
    budget: Budget
    search: RunSearch

    async def check(self) -> ThoroughFinding:
        """Run everything that the budget allows."""
        affords = self.budget.affords
        run = OnceRun(run=self.run, affords=affords)
        found: dict[Any, Any] = {} if self._is_editable else self._out_of_scope()
        for phase in (self._shared, self._adversaries, self._erasure, self._others):
            askings = phase(found)
            made = await askings if isinstance(askings, Awaitable) else askings
            found |= (await run_together(run, made, affords=affords, finite_only=True))[0]
        return self._judge(found)

    def skipped(self, reason: str) -> ThoroughFinding:
        """What is said where nothing was run, and why."""
        kinds = [kind for kind in CheckKind if kind.thorough]
        checks = tuple(
            CheckResult(kind=kind, outcome=CheckOutcome.SKIPPED, statistic="none", detail=reason) for kind in kinds
        )
        return ThoroughFinding(
            checks={each.kind: checks for each in self.maps}, witnesses={each.kind: () for each in self.maps}
        )

    def _shared(self, _: dict[Any, Any]) -> dict[Any, Asking[Any]]:
        """What is measured once for all maps, and the knock-outs of the maps that matter."""
        edits: dict[Any, Asking[Any]] = {}
        if self._is_editable:
            edits[CheckKind.REWIRING_SCOPES] = rewiring_scopes(self.subject, self.layers, self.policy)
            edits[CheckKind.HEADS] = heads(self.subject, self.layers, self.heads, self.policy)
        return {
            CheckKind.OPERATOR_RULE: masking(self.subject, self.policy),
            **edits,
            CheckKind.RANK_AGREEMENT: single_drops(self.subject),
            **self._knock_outs(self.maps[: self.first]),
        }

    @property
    def _is_editable(self) -> bool:
        return self.subject.scope is Scope.ALL_LAYERS

    def _out_of_scope(self) -> dict[Any, Any]:
        """What stands in the place of checks that edit attention."""
        trials = [(each.kind, trial) for each in self.maps for trial in TRIALS]
        return dict.fromkeys([CheckKind.REWIRING_SCOPES, CheckKind.HEADS, *trials], OutOfScopeError())

    async def _adversaries(self, found: dict[Any, Any]) -> dict[Any, Asking[Any]]:
        """Search for maps that are made of attention alone, and ask for a forward of what the search proposes."""
        scopes = found.get(CheckKind.REWIRING_SCOPES)
        drawn = scopes.draws[EVERYBODY] if isinstance(scopes, ScopeFinding) else ()
        askings: dict[Any, Asking[Any]] = {}
        for each in self.maps:
            search = self._search(each)
            if not self._is_searched(each):
                continue
            try:
                proposed = await self.search(search)
            except OutOfBudgetError as error:
                found[each.kind, CheckKind.ADVERSARY] = error
                continue
            except (ServiceError, DeviceMemory) as error:
                logs.event(_log, logging.ERROR, "search_failed", error=error)
                found[each.kind, CheckKind.ADVERSARY] = error
                continue
            asking = adversary(self.subject, each, proposed, drawn, self.policy, search.rows)
            askings[each.kind, CheckKind.ADVERSARY] = asking
        return askings

    def _is_searched(self, unit_map: UnitMap) -> bool:
        """Whether there is anything to search: another map of the same attention, and gradients to find it by."""
        return unit_map.kind in REWIRED_MAPS and self.gradient is not None and self.subject.n > 1

    def _search(self, unit_map: UnitMap) -> Search:
        policy, subject = self.policy, self.subject
        return Search(
            kind=unit_map.kind,
            original=unit_map.scores,
            logits=subject.base.logits,
            decision=subject.decision,
            tolerance=policy.adversary_tvd,
            restarts=policy.adversary_restarts,
            steps=policy.adversary_steps,
            step_size=policy.adversary_step_size,
            seed=derived_seed(subject.seed, f"adversary/{unit_map.kind.value}"),
        )

    def _erasure(self, found: dict[Any, Any]) -> dict[Any, Asking[Any]]:
        """Curves of the maps that matter, and that of the order of the effects, for the limits."""
        askings = self._curves(self.maps[: self.first])
        masks = found.get(CheckKind.OPERATOR_RULE)
        if isinstance(masks, MaskFinding) and not masks.exhaustive:
            usual = masks.by(*self.subject.operators)
            estimate = estimate_effects(usual.removed, usual.operators, usual.margins)
            if estimate is not None:
                askings[ORDER] = curve(self.subject, np.argsort(-estimate.effects, kind="stable").tolist())
        return askings

    def _others(self, _: dict[Any, Any]) -> dict[Any, Asking[Any]]:
        """Curves and knock-outs of the other maps."""
        others = self.maps[self.first :]
        return self._curves(others) | self._knock_outs(others)

    def _curves(self, maps: Sequence[UnitMap]) -> dict[Any, Asking[Any]]:
        return {(each.kind, CheckKind.ERASURE): curve(self.subject, self._case(each).ranked) for each in maps}

    def _knock_outs(self, maps: Sequence[UnitMap]) -> dict[Any, Asking[Any]]:
        if self.attention is None:
            return {}
        return {
            (each.kind, trial): knock_out(
                self.subject, support_set(self._case(each)), self.attention, self.policy, trial
            )
            for each in maps
            for trial in TRIALS
        }

    def _case(self, unit_map: UnitMap) -> WitnessSubject:
        return WitnessSubject(subject=self.subject, map=unit_map, effects=np.zeros(self.subject.n))

    def _judge(self, found: dict[Any, Any]) -> ThoroughFinding:
        """Results of every map, in the order of the checks; what did not run says why."""
        limits = self._limits(found)
        silenced = found[CheckKind.HEADS]
        witnesses: dict[MapKind, tuple[Witness, ...]] = {each.kind: () for each in self.maps}
        if isinstance(silenced, WitnessFinding) and silenced.witness is not None:
            witnesses[self.maps[0].kind] = (silenced.witness,)
        adversaries = {each.kind: self._adversary(each, found) for each in self.maps}
        for kind, each in adversaries.items():
            witnesses[kind] = (*witnesses[kind], *([each.witness] if each.witness else []))
        checks = {
            each.kind: (
                *self._of_masks(each, found[CheckKind.OPERATOR_RULE]),
                *self._of_scopes(each, found[CheckKind.REWIRING_SCOPES]),
                *(self._result(CheckKind.KNOCK_OUT, found[each.kind, trial]) for trial in TRIALS),
                *self._of_curve(found[each.kind, CheckKind.ERASURE], limits),
                *self._of_singles(each, found[CheckKind.RANK_AGREEMENT]),
                silenced.result if isinstance(silenced, WitnessFinding) else absent(CheckKind.HEADS, silenced),
                adversaries[each.kind].result,
            )
            for each in self.maps
        }
        return ThoroughFinding(checks=checks, witnesses=witnesses)

    def _adversary(self, unit_map: UnitMap, found: dict[Any, Any]) -> WitnessFinding:
        """What the search came to for one map, or why there was none."""
        if self._is_searched(unit_map):
            made = found.get((unit_map.kind, CheckKind.ADVERSARY))
            return (
                made if isinstance(made, WitnessFinding) else WitnessFinding(result=absent(CheckKind.ADVERSARY, made))
            )
        if unit_map.kind not in REWIRED_MAPS:
            reason = "Searched only for maps that are made of attention weights alone and recomputed under a bias."
        elif self.gradient is None:
            reason = "This backend has no gradients to search by."
        else:
            reason = "A single word has all the weight in every map."
        return not_searched(self.subject, self.policy, reason)

    def _of_masks(self, unit_map: UnitMap, masks: object) -> tuple[CheckResult, ...]:
        if not isinstance(masks, MaskFinding):
            return tuple(absent(kind, masks) for kind in (CheckKind.OPERATOR_RULE, CheckKind.STRATIFIED_NULL))
        return (
            *operator_rule(self.subject, unit_map, masks, self.policy),
            *stratified_null(self.subject, unit_map, masks, self.policy),
        )

    def _of_scopes(self, unit_map: UnitMap, scopes: object) -> tuple[CheckResult, ...]:
        if not isinstance(scopes, ScopeFinding):
            return (absent(CheckKind.REWIRING_SCOPES, scopes),)
        return judge_scopes(self.subject, unit_map, scopes)

    def _of_curve(self, own: object, limits: Limits | None) -> tuple[CheckResult, ...]:
        if not isinstance(own, Curve):
            return (absent(CheckKind.ERASURE, own),)
        return judge_erasure(self.subject, own, limits, self.policy)

    def _of_singles(self, unit_map: UnitMap, drops: object) -> tuple[CheckResult, ...]:
        gradient = rank_agreement(self.subject, unit_map, self.gradient, GRADIENT, 0)
        if not isinstance(drops, np.ndarray):
            return (gradient, absent(CheckKind.RANK_AGREEMENT, drops))
        return (gradient, rank_agreement(self.subject, unit_map, drops, LEAVE_ONE_OUT, WAYS * self.subject.n))

    def _limits(self, found: dict[Any, Any]) -> Limits | None:
        """Exact where every subset was deleted, else those of all orders that were tried."""
        curves = [each for each in found.values() if isinstance(each, Curve)]
        masks = found.get(CheckKind.OPERATOR_RULE)
        if not curves:
            return None
        if not isinstance(masks, MaskFinding) or not masks.exhaustive or self.subject.n == 1:
            return Limits.of(curves)
        base = float(self.subject.probabilities([self.subject.base])[0])
        deleted = masks.by(self.subject.encoding.removals.beside)
        pairs = zip(deleted.removed, deleted.probabilities, strict=True)
        falls = {removed.tobytes(): base - float(probability) for removed, probability in pairs}
        everything = {np.ones(self.subject.n, dtype=np.bool_).tobytes(): float(curves[0].removed[-1])}
        return Limits.exact(falls | everything, self.subject.n)

    @staticmethod
    def _result(kind: CheckKind, found: object) -> CheckResult:
        return found if isinstance(found, CheckResult) else absent(kind, found)


def absent(kind: CheckKind, found: object) -> CheckResult:
    """What stands where a check gave nothing: it crashed, the budget did not allow it, or it cannot be made here."""
    outcome, detail = CheckOutcome.ERRORED, "The check crashed or met values that are not numbers."
    if isinstance(found, OutOfBudgetError):
        outcome, detail = CheckOutcome.SKIPPED, "The budget was spent."
    elif isinstance(found, OutOfScopeError):
        outcome, detail = CheckOutcome.SKIPPED, "This model's attention cannot be edited."
    return CheckResult(kind=kind, outcome=outcome, statistic="none", detail=detail)
