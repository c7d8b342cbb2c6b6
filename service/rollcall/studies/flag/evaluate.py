"""What the cases of all families say about the flag: how often it stands, how often it is wrong, and at what cost.

Only inputs with reach count: on the others no map can be right or wrong, and the flag must be NO_EFFECT.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from scipy.stats import rankdata

from rollcall.domain.maps import Floats, MapKind
from rollcall.domain.policy import Policy
from rollcall.domain.verdicts import CheckKind, CheckOutcome, Flag, Reason
from rollcall.studies.cases import Case, MapCase
from rollcall.studies.flag.aims import targets
from rollcall.studies.flag.calibrated import ALPHAS, calibrated_numbers, learning_curve, pools_of, saved_by_prior
from rollcall.studies.flag.estimates import estimated_effects
from rollcall.studies.flag.families.base import Undecidable
from rollcall.studies.flag.families.tampered import Tampering
from rollcall.studies.flag.run import Measured
from rollcall.studies.flag.sides import side_numbers
from rollcall.studies.rates import Share, tally
from rollcall.verdict.decide import Ruling
from rollcall.verdict.scan import Step, outcome
from rollcall.verdict.truth import Truth

BOOTSTRAPS: Final = 400
LENGTHS: Final = ((1, 8), (9, 16), (17, 32), (33, 64), (65, 128), (129, 256), (257, 512))
"""Buckets of tokens that error rates are told by."""
PERMUTATION_ALIGNMENT: Final = 0.3
"""The older rule (science of the flag, section 5): FAITHFUL for p_up <= .05 and A of at least this; UNFAITHFUL for
p_low <= .025; both after all removals."""
PERMUTATION_UP, PERMUTATION_LOW = 0.05, 0.025
_ATTENTION_ALONE = (MapKind.RAW_ATTENTION.value, MapKind.ATTENTION_ROLLOUT.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One map of one input with reach: what became of it, and what is true. `model` says on which model."""

    family: str
    model: str
    map: str
    tokens: int
    flat: bool
    ruling: Ruling
    removals: int
    alignment: float | None
    p_up: float | None
    p_low: float | None
    truth: Truth
    offered: bool
    outcomes: Mapping[CheckKind, CheckOutcome] = field(repr=False)


def judged(measured: Iterable[Measured], policy: Policy) -> list[Judged]:
    """Every map of every input with reach, with the policy's default widths; offered maps as they were served."""
    return [
        _judged(one, case, name, found, policy)
        for one in measured
        if not one.fault and one.family.undecidable is not Undecidable.EVERYTHING
        for case in one.cases
        if case.reached
        for name, found in case.maps.items()
    ]


def _judged(one: Measured, case: Case, name: str, found: MapCase, policy: Policy) -> Judged:
    last = found.looks[-1]
    ruling, removals = found.served, found.served_removals
    if ruling is None:
        steps = [
            Step(
                evidence=look.evidence,
                removals=look.removals,
                width_index=policy.width_index(look.removals, case.units, prior=False),
            )
            for look in found.looks
        ]
        replayed = outcome(steps, policy.widths, policy, calibrated=False)
        ruling, removals = replayed.ruling, replayed.removals
    assert found.truth is not None
    return Judged(
        family=one.family.name,
        model=f"{one.family.name}-{one.seed}",
        map=name,
        tokens=case.tokens,
        flat=last.evidence.flat,
        ruling=ruling,
        removals=removals,
        alignment=last.evidence.alignment,
        p_up=last.p_up,
        p_low=last.p_low,
        truth=found.truth,
        offered=found.served is not None,
        outcomes=found.outcomes,
    )


# --- one group of maps -----------------------------------------------------------------------------------------------


def group_numbers(some: Sequence[Judged], policy: Policy, *, bootstrap: bool = True) -> dict[str, Any]:
    """Shares of flags, of wrong ones and of reasons, AUROC of A, and removals."""
    counted = tally([(one.ruling, one.truth) for one in some], policy).to_json()
    flags = [one for one in some if one.ruling.flag in {Flag.FAITHFUL, Flag.UNFAITHFUL}]
    wrong = sum(one.truth.contradicts(one.ruling.flag, policy) for one in flags)
    decidable = [one for one in some if not one.flat]
    return counted | {
        "maps": len(some),
        "flags": len(flags),
        "wrong_of_flags": Share(count=wrong, total=len(flags)).to_json(),
        "removals": float(np.mean([one.removals for one in decidable])) if decidable else 0.0,
        "auroc": auroc_of(some, policy, bootstrap=bootstrap),
    }


def auroc_of(some: Sequence[Judged], policy: Policy, *, bootstrap: bool) -> dict[str, Any] | None:
    """How well A after all removals orders right maps above wrong ones, with a bootstrap over models.

    None where there is only one kind. With a single model the bootstrap is over its maps.
    """
    known = [one for one in some if one.alignment is not None]
    scores = np.array([one.alignment for one in known], dtype=np.float64)
    right = np.array([one.truth.right(policy) for one in known], dtype=np.bool_)
    value = auroc(scores, right)
    if value is None:
        return None
    found: dict[str, Any] = {"value": value, "right": int(right.sum()), "wrong": int((~right).sum())}
    if bootstrap:
        models = sorted({one.model for one in known})
        of_model = np.array([models.index(one.model) for one in known])
        clusters = [np.flatnonzero(of_model == m) for m in range(len(models))]
        if len(models) == 1:
            clusters = [np.array([i]) for i in range(len(known))]
        random = np.random.default_rng(0)
        drawn = []
        for _ in range(BOOTSTRAPS):
            rows = np.concatenate([clusters[i] for i in random.integers(len(clusters), size=len(clusters))])
            again = auroc(scores[rows], right[rows])
            drawn += [] if again is None else [again]
        found["interval_95"] = [float(np.quantile(drawn, q)) for q in (0.025, 0.975)] if drawn else None
        found["models"] = len(models)
    return found


def auroc(scores: Floats, right: Any) -> float | None:  # noqa: ANN401 - booleans [N]
    """Probability that a right one scores above a wrong one, ties half (Mann and Whitney 1947); None without both."""
    positive = int(right.sum())
    negative = len(right) - positive
    if not positive or not negative:
        return None
    ranks = rankdata(scores)
    return float((ranks[right].sum() - positive * (positive + 1) / 2) / (positive * negative))


# --- the whole report ------------------------------------------------------------------------------------------------


def report(measured: Sequence[Measured], policy: Policy) -> dict[str, Any]:
    """All numbers of the report."""
    everything = judged(measured, policy)
    offered = [one for one in everything if one.offered]
    tampered_names = {tampering.value for tampering in Tampering}
    tampered_maps = [one for one in everything if one.map in tampered_names]
    families = {
        name: group_numbers(some, policy) | {"maps_of": _by(some, lambda one: one.map, policy)}
        for name, some in _grouped(offered, lambda one: one.family).items()
    }
    pools = pools_of(measured, policy)
    calibrated = {f"{alpha:g}": calibrated_numbers(pools, alpha=alpha) for alpha in ALPHAS}
    found = {
        "policy": {"id": policy.id, "digest": policy.digest},
        "inputs": sum(len(one.cases) for one in measured),
        "models": _models(measured),
        "worst_family": _worst(families),
        "all": group_numbers(offered, policy),
        "families": families,
        "tampered": _by(tampered_maps, lambda one: one.map, policy),
        "lengths": _by(offered, _bucket, policy),
        "undecidable": undecidable_numbers(measured),
        "no_reach": _no_reach(measured),
        "rules": rules(offered, policy),
        "checks": checks(offered, policy),
        "calibrated": calibrated,
        "prior": {f"{alpha:g}": saved_by_prior(pools, alpha=alpha) for alpha in ALPHAS},
        "sides": side_numbers(measured, policy),
        "effects": estimated_effects(measured, policy),
        "sizes": {f"{alpha:g}": learning_curve(pools, alpha=alpha) for alpha in ALPHAS},
    }
    return found | {"targets": targets(found, everything, policy)}


def _grouped(some: Iterable[Judged], key: Callable[[Judged], str]) -> dict[str, list[Judged]]:
    groups: dict[str, list[Judged]] = defaultdict(list)
    for one in some:
        groups[key(one)].append(one)
    return dict(groups)


def _by(some: Iterable[Judged], key: Callable[[Judged], str], policy: Policy) -> dict[str, Any]:
    return {name: group_numbers(group, policy, bootstrap=False) for name, group in _grouped(some, key).items()}


def _bucket(one: Judged) -> str:
    return next((f"{low}-{high}" for low, high in LENGTHS if low <= one.tokens <= high), "longer")


def _models(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "seed": one.seed,
            "layers": one.family.layers,
            "truth": one.family.truth,
            "accuracy": one.accuracy,
            "inputs": len(one.cases),
            "with_reach": sum(case.reached for case in one.cases),
        }
        for one in measured
    ]


def _worst(families: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The family with the largest share of its flags wrong, judged by the lower end of the interval, then the share."""
    if not families:
        return None

    def badness(name: str) -> tuple[float, float]:
        wrong = families[name]["wrong_of_flags"]
        return wrong["interval_95"][0], wrong["share"]

    name = max(families, key=badness)
    return {"family": name, "wrong_of_flags": families[name]["wrong_of_flags"]}


def undecidable_numbers(measured: Sequence[Measured]) -> dict[str, Any]:
    """Maps that must be INCONCLUSIVE, and how many were not; by what was done or by family."""
    found: dict[str, Any] = {}
    for one in measured:
        rulings = [
            map_case.served
            for case in one.cases
            for name, map_case in case.maps.items()
            if map_case.served is not None and _must_be_inconclusive(one, name)
        ]
        if not rulings:
            continue
        other = sum(ruling.flag is not Flag.INCONCLUSIVE for ruling in rulings)
        reasons = Counter(ruling.reason.value for ruling in rulings)
        before = found.get(one.name, {"maps": 0, "not_inconclusive": 0, "reasons": Counter()})
        found[one.name] = {
            "maps": before["maps"] + len(rulings),
            "not_inconclusive": before["not_inconclusive"] + other,
            "reasons": Counter(before["reasons"]) + reasons,
        }
    return {name: one | {"reasons": dict(one["reasons"].most_common())} for name, one in found.items()}


def _must_be_inconclusive(one: Measured, name: str) -> bool:
    if one.fault or one.family.undecidable is Undecidable.EVERYTHING:
        return True
    return one.family.undecidable is Undecidable.ATTENTION and name in _ATTENTION_ALONE


def _no_reach(measured: Sequence[Measured]) -> dict[str, Any]:
    """Inputs whose decision hangs on nothing that can be removed, and maps of them with a flag: there must be none."""
    cases = [case for one in measured if not one.fault for case in one.cases if not case.reached]
    served = [found.served for case in cases for found in case.maps.values() if found.served is not None]
    flagged = sum(ruling.flag in {Flag.FAITHFUL, Flag.UNFAITHFUL} for ruling in served)
    return {"inputs": len(cases), "maps": len(served), "flagged": flagged}


# --- why the verdict is built as it is -------------------------------------------------------------------------------


def rules(offered: Sequence[Judged], policy: Policy) -> dict[str, Any]:
    """The verdict with default widths beside the older rule, on the same maps after the same removals."""
    older = [_permutation_rule(one) for one in offered]
    return {
        "standard": tally([(one.ruling, one.truth) for one in offered], policy).to_json(),
        "permutation": tally(zip(older, (one.truth for one in offered), strict=True), policy).to_json(),
    }


def _permutation_rule(one: Judged) -> Ruling:
    if one.flat:
        return Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.FLAT_MAP)
    if one.alignment is None or one.p_up is None or one.p_low is None:
        return Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.LOW_POWER)
    witness = any(
        one.outcomes.get(kind) is CheckOutcome.CONTRADICTS for kind in (CheckKind.OMISSION, CheckKind.CONTRADICTION)
    )
    if one.p_up <= PERMUTATION_UP and one.alignment >= PERMUTATION_ALIGNMENT:
        return Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.CONFLICT) if witness else Ruling(flag=Flag.FAITHFUL)
    if one.p_low <= PERMUTATION_LOW or (witness and one.p_up > 0.5):  # noqa: PLR2004 - the rule as it was
        return Ruling(flag=Flag.UNFAITHFUL)
    return Ruling(flag=Flag.INCONCLUSIVE, reason=Reason.LOW_POWER)


def checks(offered: Sequence[Judged], policy: Policy) -> dict[str, Any]:
    """How often each single check speaks for and against maps that are right, and maps that are not."""
    found: dict[str, Any] = {}
    for kind in CheckKind:
        spoke = [
            (one.truth.right(policy), one.outcomes[kind])
            for one in offered
            if one.outcomes.get(kind) in {CheckOutcome.SUPPORTS, CheckOutcome.CONTRADICTS, CheckOutcome.INCONCLUSIVE}
        ]
        if not spoke:
            continue
        found[kind.value] = {
            f"{outcome_.value}_of_{truth}": Share(
                count=sum(seen is outcome_ for right, seen in spoke if right is is_right),
                total=sum(right is is_right for right, _ in spoke),
            ).to_json()
            for outcome_ in (CheckOutcome.SUPPORTS, CheckOutcome.CONTRADICTS)
            for truth, is_right in (("right", True), ("wrong", False))
        }
    return found
