"""Does the rule say the same under each way of removing a unit by itself?

A fitted on one operator's removals alone, many more of them than the flag was decided on, deletion included. An
intersection of tests that each hold at their level, so that nothing needs correcting where one asks for all of them.
"""

from __future__ import annotations

from rollcall.checks.alignment import alignment_value, estimate_effects, relabelling_p_values, rounding_of
from rollcall.checks.base import Subject
from rollcall.checks.masking import MaskFinding
from rollcall.domain.maps import UnitMap
from rollcall.domain.policy import ThoroughPolicy
from rollcall.domain.rows import RemovalOperator, Removals
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult


def _parts(removals: Removals) -> dict[str, tuple[RemovalOperator, ...]]:
    """Statistics, and the operators whose rows each is made of; the first is the flag's own question once more."""
    return {
        "alignment": removals.usual,
        **{f"alignment_{operator.value}": (operator,) for operator in removals.every},
    }


def operator_rule(
    subject: Subject, unit_map: UnitMap, masks: MaskFinding, policy: ThoroughPolicy
) -> tuple[CheckResult, ...]:
    """Judge one map by the rows of `masking`: one result for both usual operators together, and one for each.

    A - w >= A0 with p_up <= alpha supports, the rule of UNFAITHFUL contradicts, with the policy's last width w.
    """
    parts = _parts(subject.encoding.removals)
    return tuple(_judge(subject, unit_map, masks.by(*operators), policy, name) for name, operators in parts.items())


def _judge(
    subject: Subject, unit_map: UnitMap, masks: MaskFinding, thorough: ThoroughPolicy, statistic: str
) -> CheckResult:
    policy, rows = subject.policy, len(masks.margins)
    estimate = estimate_effects(masks.removed, masks.operators, masks.margins, rounding=rounding_of(subject.noise))
    value = None if estimate is None else alignment_value(unit_map.scores, estimate.effects)
    if estimate is None or value is None:
        detail = "No alignment exists: the map or the margins are constant, not numbers, or too few."
        return CheckResult(
            kind=CheckKind.OPERATOR_RULE,
            outcome=CheckOutcome.SKIPPED,
            statistic=statistic,
            rows=rows,
            seed=subject.seed,
            detail=detail,
        )
    ((p_up, _),) = relabelling_p_values(unit_map.scores[None, :], estimate.effects, thorough.permutations)
    width, reliability = policy.widths[-1], estimate.reliability
    outcome = CheckOutcome.INCONCLUSIVE
    if policy.is_right(value, width) and p_up <= thorough.alpha:
        outcome = CheckOutcome.SUPPORTS
    elif policy.is_wrong(value, width, reliability):
        outcome = CheckOutcome.CONTRADICTS
    removals = "all subsets" if masks.exhaustive else "random removals"
    detail = f"A {value:.2f} with width {width:.2f}, reliability {reliability:.2f}, from {removals}."
    return CheckResult(
        kind=CheckKind.OPERATOR_RULE,
        outcome=outcome,
        statistic=statistic,
        value=value,
        threshold=policy.alignment_threshold,
        p_value=p_up,
        rows=rows,
        seed=subject.seed,
        detail=detail,
    )
