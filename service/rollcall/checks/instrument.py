"""Are the hooks live?

The input's own maps put back must change nothing; uniform attention in all layers must change something.

The changes are measured on the read-out state, so that a classifier that ignores it cannot hide dead hooks, relative to
its largest entry. The numerical floor is what a second run of the untouched input, in another batch, differs by,
and at least that of the model's precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rollcall.checks.base import Asking, Subject
from rollcall.domain.maps import Floats
from rollcall.domain.rows import AttentionEdit, Row, RowResult
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentFinding:
    """`passed`: the hooks are live.

    `vacuous`: attention is uniform already, so the positive control cannot move anything.
    """

    passed: bool
    vacuous: bool
    results: tuple[CheckResult, ...]


def instrument(subject: Subject, *, attention_is_uniform: bool) -> Asking[InstrumentFinding]:
    """Ask for a duplicate, the identity replay and the positive control."""
    plain, identity, uniform = yield [
        Row(readout=True),
        Row(edit=AttentionEdit.IDENTITY, readout=True),
        Row(edit=AttentionEdit.UNIFORM, readout=True),
    ]
    base = _readout(subject.base)
    if not all(row.finite for row in (subject.base, plain, identity, uniform)):
        return _not_numbers(subject, rows=3)
    policy = subject.policy
    scale = float(np.abs(base).max()) or 1.0
    floor = max(_shift(plain, base) / scale, policy.minimum_floor, subject.noise)
    identity_shift = _shift(identity, base) / scale
    control_shift = _shift(uniform, base) / scale
    replays = identity_shift <= policy.identity_factor * floor
    moves = control_shift > policy.control_factor * floor
    vacuous = replays and not moves and attention_is_uniform
    if replays and moves:
        outcome, detail = (
            CheckOutcome.SUPPORTS,
            "Identity replay changed nothing and uniform attention changed the state.",
        )
    elif vacuous:
        outcome, detail = (
            CheckOutcome.INCONCLUSIVE,
            "Attention is uniform already: the positive control cannot show anything.",
        )
    elif replays:
        outcome, detail = (
            CheckOutcome.CONTRADICTS,
            "Uniform attention in all layers left the read-out state where it was.",
        )
    else:
        outcome, detail = CheckOutcome.CONTRADICTS, "Putting the input's own attention back changed the read-out state."
    return InstrumentFinding(
        passed=replays and moves,
        vacuous=vacuous,
        results=(
            CheckResult(
                kind=CheckKind.INSTRUMENT,
                outcome=outcome,
                statistic="control_shift_in_floors" if replays else "identity_shift_in_floors",
                value=(control_shift if replays else identity_shift) / floor,
                threshold=policy.control_factor if replays else policy.identity_factor,
                rows=3,
                seed=subject.seed,
                detail=detail,
            ),
            CheckResult(
                kind=CheckKind.UNIFORM_ATTENTION,
                outcome=CheckOutcome.INCONCLUSIVE,
                statistic="tvd",
                value=subject.tvd(uniform),
                rows=0,
                seed=subject.seed,
                detail="Attention made uniform without retraining "
                + ("changed" if subject.flips([uniform]).any() else "kept")
                + " the decision; shown, it never decides.",
            ),
        ),
    )


def replay(subject: Subject) -> Asking[InstrumentFinding]:
    """Ask for a duplicate alone, of a model whose attention cannot be edited: the same input must answer the same."""
    (plain,) = yield [Row()]
    if not all(row.finite for row in (subject.base, plain)):
        return _not_numbers(subject, rows=1)
    policy = subject.policy
    scale = max(1.0, float(np.abs(subject.base.logits).max()))
    shift = float(np.abs(plain.logits - subject.base.logits).max()) / scale
    floor = max(policy.minimum_floor, subject.noise)
    passed = shift <= policy.identity_factor * floor
    results = (
        CheckResult(
            kind=CheckKind.INSTRUMENT,
            outcome=CheckOutcome.SUPPORTS if passed else CheckOutcome.CONTRADICTS,
            statistic="replay_shift_in_floors",
            value=shift / floor,
            threshold=policy.identity_factor,
            rows=1,
            seed=subject.seed,
            detail="A second run of the input gave " + ("the same answer." if passed else "another answer."),
        ),
        CheckResult(
            kind=CheckKind.UNIFORM_ATTENTION,
            outcome=CheckOutcome.SKIPPED,
            statistic="tvd",
            detail="This model's attention cannot be edited.",
        ),
    )
    return InstrumentFinding(passed=passed, vacuous=False, results=results)


def _not_numbers(subject: Subject, rows: int) -> InstrumentFinding:
    results = tuple(
        CheckResult(
            kind=kind,
            outcome=CheckOutcome.ERRORED,
            statistic=statistic,
            rows=asked,
            seed=subject.seed,
            detail="The rows are not all numbers; this is no evidence.",
        )
        for kind, statistic, asked in (
            (CheckKind.INSTRUMENT, "control_shift_in_floors", rows),
            (CheckKind.UNIFORM_ATTENTION, "tvd", 0),
        )
    )
    return InstrumentFinding(passed=False, vacuous=False, results=results)


def _readout(row: RowResult) -> Floats:
    if row.readout is None:
        message = "the instrument check needs the read-out state"
        raise ValueError(message)
    return row.readout


def _shift(row: RowResult, base: Floats) -> float:
    return float(np.abs(_readout(row) - base).max())
