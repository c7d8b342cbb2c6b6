"""From cases with known truth to a calibration: which widths keep which promise, and what they gave on held-out inputs.

Every map has widths and a promise of its own, and the recommended map, a selection, has one, too (DESIGN section 2).
The first fifth of the inputs chooses the primary map, and whether a gradient helps as a prior; all promises rest on the
others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np

from rollcall.checks.alignment import estimate_effects, relabelling_p_values
from rollcall.checks.base import OPERATORS
from rollcall.domain import binomial
from rollcall.domain.maps import REWIRED_MAPS, Bools, Floats, Ints, MapKind, usual_of
from rollcall.domain.policy import Policy
from rollcall.domain.verdicts import CheckKind, CheckOutcome
from rollcall.studies.cases import Case
from rollcall.verdict.calibration import FORMAT
from rollcall.verdict.scan import CS, Promise, Replay, promises, recommended, replay, replay_default

FEWEST_INPUTS: Final = 200
"""Fewer calibration inputs scatter too widely to be trusted (DESIGN section 2)."""
CHOOSING_SHARE: Final = 0.2
"""Of the inputs, those that choose the primary map and take no part in its promise."""
ALWAYS_ALPHAS: Final = (0.05, 0.02)
"""Promises that every calibration states, whichever one sets the widths."""
SPLITS: Final = 200
"""Random halves: one calibrates, the other one checks."""
RANDOM_MAPS: Final = 20
"""Random maps an input, for the size of the p-values."""
RECOMMENDED: Final = "recommended"
"""The name under which the recommended map, whichever it is, has its promise."""


class CalibratingError(ValueError):
    """The inputs do not allow a calibration; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One map on the inputs that have it: their `numbers` among all, what each width gives, and A* of each [N]."""

    numbers: Ints = field(repr=False)
    calibrated: Replay = field(repr=False)
    default: Replay = field(repr=False)
    truths: Floats = field(repr=False)

    def of(self, inputs: Bools) -> Replayed:
        """Only some of all the inputs."""
        mine = inputs[self.numbers]
        return Replayed(
            numbers=self.numbers[mine],
            calibrated=self.calibrated.of(mine),
            default=self.default.of(mine),
            truths=self.truths[mine],
        )


def replay_all(cases: Sequence[Case], policy: Policy, *, prior: bool) -> dict[str, Replayed]:
    """Replay every map of the cases at every width, with or without the prior."""
    records = [case.recorded(policy, prior=prior) for case in cases]
    unaided = [case.recorded(policy, prior=False) for case in cases] if prior else records
    found = {}
    for name in dict.fromkeys(name for record in records for name in record.truths):
        numbers = np.array([i for i, record in enumerate(records) if name in record.truths], dtype=np.int64)
        having = [records[i] for i in numbers]
        found[name] = Replayed(
            numbers=numbers,
            calibrated=replay(having, name, policy),
            default=replay_default([unaided[i] for i in numbers], name, policy),
            truths=np.array([record.truths[name].alignment for record in having]),
        )
    return found


def fit(replayed: Mapping[str, Replayed], *, alpha: float, confidence: float) -> dict[str, float | None]:
    """The c of every map, and of RECOMMENDED, that keeps its promise with this confidence; None where none does.

    The usual maps are those that are recommended from: their widths are at least those that RECOMMENDED asks for.
    """

    def kept(found: Replay) -> float | None:
        return promises(found, alpha=alpha, confidence=confidence).confident.c

    own = {name: kept(found.calibrated) for name, found in replayed.items()}
    floors = _floors(own)
    least = kept(recommended(_usual(replayed), floors)) if floors else None
    raised = {name: max(c, least or 0.0) if name in floors and c is not None else c for name, c in own.items()}
    return raised | {RECOMMENDED: least}


def usual_maps(names: Collection[str]) -> tuple[str, ...]:
    """Of these maps those that answers recommend from, by name."""
    return tuple(kind.value for kind in usual_of([kind for kind in MapKind if kind.value in names]))


def _usual(replayed: Mapping[str, Replayed]) -> dict[str, Replay]:
    return {name: replayed[name].calibrated for name in usual_maps(replayed)}


def _floors(cs: Mapping[str, float | None]) -> dict[str, float]:
    return {name: c for name in usual_maps(cs) if (c := cs[name]) is not None}


def given(replayed: Mapping[str, Replayed], name: str, cs: Mapping[str, float | None]) -> Replay:
    """Flags [N] of one map with these widths, the default ones where there is no c; RECOMMENDED has one."""
    c = cs[name]
    if name == RECOMMENDED:
        found = recommended(_usual(replayed), _floors(cs))
    else:
        found = replayed[name].default if c is None else replayed[name].calibrated
    return found.at(0 if c is None else CS.index(c))


def held_out(
    replayed: Mapping[str, Replayed], inputs: int, *, alpha: float, confidence: float, seed: int
) -> dict[str, dict[str, Any]]:
    """What calibrating on a random half gave on the other half, for every map and RECOMMENDED, over SPLITS splits.

    Shares of flags that were wrong are pooled over the splits; their exact intervals are those of the first split.
    """
    random = np.random.default_rng(seed)
    names = (*replayed, RECOMMENDED)
    counts: dict[str, list[list[int]]] = {name: [] for name in names}
    removals: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(SPLITS):
        half = random.permutation(inputs) < inputs // 2
        cs = fit({name: one.of(half) for name, one in replayed.items()}, alpha=alpha, confidence=confidence)
        others = {name: one.of(~half) for name, one in replayed.items()}
        for name in names:
            if name == RECOMMENDED and cs[name] is None:
                continue
            found = given(others, name, cs)
            wrong = found.wrong
            counts[name].append(
                [
                    len(wrong),
                    int(wrong.sum()),
                    int(found.faithful.sum()),
                    int((wrong & found.faithful).sum()),
                    int(found.unfaithful.sum()),
                    int((wrong & found.unfaithful).sum()),
                    int(found.far.sum()),
                ]
            )
            removals[name].append(float(found.removals.mean()) if len(wrong) else 0.0)
    return {name: _rates(np.array(counts[name]), removals[name], alpha) for name in names if counts[name]}


def _rates(counts: Ints, removals: Sequence[float], alpha: float) -> dict[str, Any]:
    total, wrong, faithful, wrong_faithful, unfaithful, wrong_unfaithful, far = counts.T
    shares = wrong / np.maximum(total, 1)
    first = counts[0].tolist()
    return {
        "splits": len(counts),
        "inputs": int(total[0]),
        "faithful": _pooled(faithful, total),
        "unfaithful": _pooled(unfaithful, total),
        "wrong": _pooled(wrong, total),
        "wrong_95th_percentile_of_splits": float(np.quantile(shares, 0.95)),
        "splits_above_alpha": float(np.mean(shares > alpha)),
        "wrong_faithful": _pooled(wrong_faithful, faithful),
        "wrong_faithful_interval_95": list(binomial.interval(first[3], first[2])),
        "wrong_unfaithful": _pooled(wrong_unfaithful, unfaithful),
        "wrong_unfaithful_interval_95": list(binomial.interval(first[5], first[4])),
        "far_wrong": _pooled(far, total),
        "removals": float(np.mean(removals)),
    }


def _pooled(counts: Ints, totals: Ints) -> float | None:
    """The share over all splits; None of nothing."""
    return float(counts.sum() / totals.sum()) if totals.sum() else None


def choose_primary(cases: Sequence[Case], policy: Policy) -> MapKind:
    """The usual map that is right most often, the earlier of them among equals."""
    usual = usual_maps([name for name in cases[0].maps if all(name in case.maps for case in cases)])
    if not usual:
        message = "none of the usual maps was measured; a primary map is one of them"
        raise CalibratingError(message)

    def right(name: str) -> int:
        truths = [case.maps[name].truth for case in cases]
        return sum(truth is not None and truth.right(policy) for truth in truths)

    return MapKind(max(usual, key=right))


def first_look_errors(cases: Sequence[Case], policy: Policy) -> dict[str, float | None]:
    """Root mean square of A - A* of the usual maps after the first look's removals, with and without the prior.

    With it so many removals have come in more than one look. None without gradients.
    """
    rows = policy.looks[0]
    plain: list[float] = []
    helped: list[float] = []
    for case in cases:
        for found in (case.maps[name] for name in usual_maps(case.maps)):
            truth = 0.0 if found.truth is None else found.truth.alignment
            for looks, errors in ((found.looks, plain), (found.with_prior, helped)):
                at = looks[0] if len(looks) == 1 else next((look for look in looks if look.removals == rows), None)
                if at is not None and at.evidence.alignment is not None:
                    errors.append(at.evidence.alignment - truth)
    return {"with": _root_mean_square(helped), "without": _root_mean_square(plain)}


def prior_helps(errors: Mapping[str, float | None]) -> bool:
    """Whether A lies nearer to A* with the prior, by `first_look_errors`."""
    aided, unaided = errors["with"], errors["without"]
    return aided is not None and unaided is not None and aided < unaided


def _root_mean_square(errors: Sequence[float]) -> float | None:
    return float(np.sqrt(np.mean(np.square(errors)))) if errors else None


def calibrate(cases: Sequence[Case], policy: Policy, *, alpha: float, confidence: float, seed: int) -> dict[str, Any]:
    """Everything of a calibration file that follows from the cases. Raises CalibratingError for too few inputs."""
    reached = [case for case in cases if case.reached]
    chosen, rest = reached[: round(CHOOSING_SHARE * len(reached))], reached[round(CHOOSING_SHARE * len(reached)) :]
    if len(chosen) < 1 or len(rest) < 1 / alpha - 1:
        message = (
            f"{len(reached)} inputs with reach among {len(cases)}: too few to promise {alpha:.0%} at all; "
            f"{FEWEST_INPUTS} are the least to be trusted"
        )
        raise CalibratingError(message)
    errors = first_look_errors(chosen, policy)
    prior = prior_helps(errors)
    replayed = replay_all(rest, policy, prior=prior)
    cs = fit(replayed, alpha=alpha, confidence=confidence)
    checked = held_out(replayed, len(rest), alpha=alpha, confidence=confidence, seed=seed)
    primary = choose_primary(chosen, policy)
    lengths = [case.units for case in rest]
    return {
        "alpha": alpha,
        "confidence": confidence,
        "primary_map": primary.value,
        "failed": cs[primary.value] is None,
        "prior": {"used": prior, "errors_of_alignment": errors},
        "maps": {name: _map_entry(replayed, name, cs, checked, alpha, confidence) for name in replayed},
        "answers": {"removals": float(answer_removals(replayed, cs).mean())},
        "recommended": _map_entry(replayed, RECOMMENDED, cs, checked, alpha, confidence),
        "measured": measured_facts(cases, rest, policy, seed),
        "inputs": len(rest),
        "tried": len(cases),
        "with_reach": len(reached),
        "shortest": min(lengths),
        "longest": max(lengths),
    }


def answer_removals(replayed: Mapping[str, Replayed], cs: Mapping[str, float | None]) -> Ints:
    """Removals of each answer [N]: looks go on until every usual map is decided."""
    return np.asarray(np.max([given(replayed, name, cs).removals for name in _usual(replayed)], axis=0))


def _map_entry(
    replayed: Mapping[str, Replayed],
    name: str,
    cs: Mapping[str, float | None],
    checked: Mapping[str, dict[str, Any]],
    alpha: float,
    confidence: float,
) -> dict[str, Any]:
    floors = _floors(cs)
    if name == RECOMMENDED:
        found = recommended(_usual(replayed), floors) if floors else None
        about: dict[str, Any] = {}
    else:
        found = replayed[name].calibrated
        truths = replayed[name].truths
        about = {"inputs": len(truths), "mean_true_alignment": float(truths.mean())}
    stated = []
    for level in sorted({alpha, *ALWAYS_ALPHAS}, reverse=True):
        if found is None:
            continue
        both = promises(found, alpha=level, confidence=confidence)
        stated += [_stated(both.expected, level, None), _stated(both.confident, level, confidence)]
    return {"c": cs[name]} | about | {"promises": stated, "held_out": checked.get(name, {})}


def _stated(promise: Promise, alpha: float, confidence: float | None) -> dict[str, Any]:
    kind = "in expectation" if confidence is None else f"with {confidence:.0%} confidence"
    return {
        "alpha": alpha,
        "confidence": confidence,
        "kind": kind,
        "c": promise.c,
        "wrong": promise.wrong,
        "inputs": promise.inputs,
    }


def measured_facts(tried: Sequence[Case], cases: Sequence[Case], policy: Policy, seed: int) -> dict[str, Any]:
    """What else an auditor asks about: reach, rewiring, operators, the scale of effects, the size of the p-values."""
    reached = sum(case.reached for case in tried)
    correlations = [found for case in cases if (found := operator_correlation(case)) is not None]
    return {
        "reach": {"with_reach": reached, "tried": len(tried), "share": reached / len(tried)},
        **_rewired(cases),
        "operator_agreement": {
            "median_correlation": float(np.median(correlations)) if correlations else None,
            "inputs": len(correlations),
        },
        "effect_scale": {
            "median_standard_deviation": float(np.median([np.std(case.true_effects) for case in cases])),
            "median_margin": float(np.median([abs(case.margin) for case in cases])),
        },
        "p_values": p_value_size(cases, policy, seed),
    }


def _rewired(cases: Sequence[Case]) -> dict[str, Any]:
    """What rewiring said; nothing of a model whose attention cannot be edited."""
    draws = np.array([same for case in cases for same in case.same])
    names = {kind.value for kind in REWIRED_MAPS}.intersection(*(case.maps for case in cases))
    if not names:
        return {}
    outcomes = [case.maps[name].outcomes.get(CheckKind.REWIRING) for case in cases for name in names]
    certified = sum(outcome is CheckOutcome.CONTRADICTS for outcome in outcomes)
    return {
        "rewiring": {
            "draws": len(draws),
            "same_answer": float(draws.mean()) if len(draws) else None,
            "maps_counted": certified + sum(outcome is CheckOutcome.SUPPORTS for outcome in outcomes),
            "maps_certified_not_used": certified,
        }
    }


def operator_correlation(case: Case) -> float | None:
    """Correlation of the effects as each operator sees them; None where one of them sees none, or with one unit."""
    removed, operators, margins = case.rows()
    found = []
    for operator in OPERATORS:
        mine = [i for i, one in enumerate(operators) if one is operator]
        estimate = estimate_effects(removed[mine], (operator,) * len(mine), margins[mine])
        if estimate is None or case.units == 1 or np.ptp(estimate.effects) == 0:
            return None
        found.append(estimate.effects)
    return float(np.corrcoef(found[0], found[1])[0, 1])


def p_value_size(cases: Sequence[Case], policy: Policy, seed: int) -> dict[str, Any]:
    """How often p_up is at most .05 and .01 for random maps, whose weights follow nothing; it should be as often."""
    random = np.random.default_rng(seed)
    found: list[float] = []
    for case in cases:
        removed, operators, margins = case.rows()
        estimate = estimate_effects(removed, operators, margins)
        weights = random.dirichlet(np.ones(case.units), RANDOM_MAPS)
        if estimate is not None:
            found += [up for up, _ in relabelling_p_values(weights, estimate.effects, policy.permutations)]
    values = np.array(found)
    levels = {f"at_most_{level:g}": _share_json(int((values <= level).sum()), len(values)) for level in (0.05, 0.01)}
    return {"random_maps": len(values)} | levels


def _share_json(count: int, total: int) -> dict[str, Any]:
    return {"share": count / total if total else None, "interval_95": list(binomial.interval(count, total))}


def calibration_file(
    found: Mapping[str, Any],
    *,
    model: Mapping[str, Any],
    policy: Policy,
    data: Mapping[str, Any],
    created: datetime,
) -> dict[str, Any]:
    """The file: what was found, of which weights, policy and data, under an id that names all of it."""
    counts = {name: found[name] for name in ("inputs", "tried", "with_reach", "shortest", "longest")}
    rest = {name: value for name, value in found.items() if name not in counts}
    told = {
        "format": FORMAT,
        "created": created.isoformat(timespec="seconds"),
        "model": dict(model),
        "policy": {"id": policy.id, "digest": policy.digest},
        "data": dict(data) | counts,
    } | rest
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
    stem = str(data["name"]).rsplit(".", 1)[0].replace("/", "-")
    return {"format": FORMAT, "id": f"{stem}-{hashlib.sha256(canonical).hexdigest()[:12]}"} | told
