"""The verdict: a table of rules over the evidence for one map, tried in order (DESIGN section 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rollcall.domain.policy import Policy
from rollcall.domain.verdicts import CheckOutcome, Flag, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class MapEvidence:
    """What is known about one map after a look.

    `alignment` is None where no A exists. The booleans are drawn from the numbers beforehand, so that the table below
    reads as the design does. `cut` means that deadline, rows or load ended the looks early; `last` that no look is
    left.
    """

    finite: bool
    instrument: CheckOutcome
    reach: CheckOutcome
    flat: bool
    alignment: float | None
    width: float
    reliability: float
    calibrated: bool
    may_omit_top_effect: bool
    rewiring: CheckOutcome
    operators_disagree: bool
    last: bool
    cut: bool
    waiting: bool = False
    """Whether too few removals have been run yet that may judge this map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """A flag with its reason."""

    flag: Flag
    reason: Reason = Reason.NONE


Rule = tuple[Callable[[MapEvidence, Policy], bool], Ruling]


def _inconclusive(reason: Reason) -> Ruling:
    return Ruling(flag=Flag.INCONCLUSIVE, reason=reason)


def right(e: MapEvidence, p: Policy) -> bool:
    """Whether there is an A, above the threshold by its width."""
    return e.alignment is not None and p.is_right(e.alignment, e.width)


def wrong(e: MapEvidence, p: Policy) -> bool:
    """Whether there is an A, below the threshold by its width."""
    return e.alignment is not None and p.is_wrong(e.alignment, e.width, e.reliability)


def _unmeasured(e: MapEvidence) -> bool:
    """Whether the looks ended before the first one was run."""
    return e.cut and e.reach is CheckOutcome.SKIPPED


RULES: tuple[Rule, ...] = (
    (lambda e, _: not e.finite, _inconclusive(Reason.NUMERICS)),
    (lambda e, _: e.instrument in {CheckOutcome.CONTRADICTS, CheckOutcome.ERRORED}, _inconclusive(Reason.INSTRUMENT)),
    (lambda e, _: _unmeasured(e), _inconclusive(Reason.BUDGET)),
    (lambda e, _: e.reach is CheckOutcome.CONTRADICTS, _inconclusive(Reason.NO_EFFECT)),
    (lambda e, _: e.flat, _inconclusive(Reason.FLAT_MAP)),
    (lambda e, _: e.instrument is not CheckOutcome.SUPPORTS, _inconclusive(Reason.INSTRUMENT)),
    (lambda e, _: e.reach is not CheckOutcome.SUPPORTS, _inconclusive(Reason.INSTRUMENT)),
    (lambda e, _: e.alignment is None and not e.waiting, _inconclusive(Reason.LOW_POWER)),
    (lambda e, p: p.require_calibration and not e.calibrated, _inconclusive(Reason.UNCALIBRATED)),
    (lambda e, p: right(e, p) and e.rewiring is CheckOutcome.ERRORED, _inconclusive(Reason.INSTRUMENT)),
    (lambda e, p: right(e, p) and e.may_omit_top_effect and e.last, _inconclusive(Reason.OMISSION)),
    (lambda e, p: right(e, p) and e.rewiring is CheckOutcome.CONTRADICTS, _inconclusive(Reason.NOT_USED)),
    (lambda e, p: right(e, p) and e.operators_disagree, _inconclusive(Reason.OPERATOR_DISAGREEMENT)),
    (lambda e, p: right(e, p) and not e.may_omit_top_effect, Ruling(flag=Flag.FAITHFUL)),
    (wrong, Ruling(flag=Flag.UNFAITHFUL)),
    (lambda e, _: e.cut, _inconclusive(Reason.BUDGET)),
    (lambda e, _: e.last, _inconclusive(Reason.LOW_POWER)),
)
"""A check that crashed is ERRORED: where it decides or could take FAITHFUL back, the flag says INSTRUMENT instead.

A right map that may omit the largest effect waits for more removals to tell (ADR 15).
"""


def decide(evidence: MapEvidence, policy: Policy) -> Ruling | None:
    """First rule that applies; None asks for the next look."""
    return next((ruling for applies, ruling in RULES if applies(evidence, policy)), None)
