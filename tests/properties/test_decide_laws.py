"""Laws of the verdict that hold for every piece of evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rollcall.domain.verdicts import CheckOutcome, Flag
from rollcall.verdict.decide import MapEvidence, decide
from rollcall.verdict.policies import STANDARD

OUTCOMES = st.sampled_from(CheckOutcome)
ALIGNMENTS = st.none() | st.floats(-1, 1)
POLICIES = st.sampled_from([STANDARD, replace(STANDARD, require_calibration=True)])

EVIDENCE = st.builds(
    MapEvidence,
    finite=st.booleans(),
    instrument=OUTCOMES,
    reach=OUTCOMES,
    flat=st.booleans(),
    alignment=ALIGNMENTS,
    width=st.floats(0, 1),
    reliability=st.floats(0, 1),
    calibrated=st.booleans(),
    may_omit_top_effect=st.booleans(),
    rewiring=OUTCOMES,
    operators_disagree=st.booleans(),
    last=st.booleans(),
    cut=st.booleans(),
)
MEASURED = st.builds(
    replace,
    EVIDENCE,
    finite=st.just(value=True),
    instrument=st.just(CheckOutcome.SUPPORTS),
    reach=st.just(CheckOutcome.SUPPORTS),
    flat=st.just(value=False),
)
"""Evidence that reaches the alignment, so that every flag is drawn often."""

NOT_RUN = (CheckOutcome.SKIPPED, CheckOutcome.ERRORED)


def flag(evidence: MapEvidence, policy: Any = STANDARD) -> Flag | None:  # noqa: ANN401 - drawn
    """Flag, or None where another look is asked for."""
    ruling = decide(evidence, policy)
    return ruling.flag if ruling else None


@given(EVIDENCE | MEASURED, POLICIES)
def test_the_last_look_always_rules(evidence: MapEvidence, policy: Any) -> None:  # noqa: ANN401 - drawn
    """No map leaves without a flag once there is no look left, or none can be paid for."""
    assert decide(replace(evidence, last=True), policy) is not None
    assert decide(replace(evidence, cut=True), policy) is not None


@given(EVIDENCE | MEASURED, POLICIES)
def test_deciding_needs_live_instruments_and_an_alignment(evidence: MapEvidence, policy: Any) -> None:  # noqa: ANN401 - drawn
    """FAITHFUL and UNFAITHFUL both rest on instruments that passed, an input with reach, and an A."""
    if flag(evidence, policy) in {Flag.FAITHFUL, Flag.UNFAITHFUL}:
        assert evidence.instrument is evidence.reach is CheckOutcome.SUPPORTS
        assert evidence.finite
        assert evidence.alignment is not None


@given(EVIDENCE, st.sampled_from(NOT_RUN), st.sampled_from(NOT_RUN))
def test_no_completed_check_is_never_faithful(
    evidence: MapEvidence, instrument: CheckOutcome, reach: CheckOutcome
) -> None:
    """Zero completed checks never become FAITHFUL, nor UNFAITHFUL."""
    nothing = replace(evidence, instrument=instrument, reach=reach, alignment=None, rewiring=CheckOutcome.SKIPPED)
    assert flag(nothing) is Flag.INCONCLUSIVE


MISSING: tuple[dict[str, Any], ...] = (
    {"alignment": None},
    {"reliability": 0.0},
    {"finite": False},
    {"calibrated": False},
    {"instrument": CheckOutcome.SKIPPED},
    {"instrument": CheckOutcome.ERRORED},
    {"reach": CheckOutcome.SKIPPED},
    {"reach": CheckOutcome.ERRORED},
    {"rewiring": CheckOutcome.SKIPPED},
    {"rewiring": CheckOutcome.ERRORED},
    {"cut": True},
    {"last": True},
)


@given(EVIDENCE | MEASURED, st.sampled_from(MISSING), POLICIES)
def test_missing_evidence_never_makes_a_map_unfaithful(
    evidence: MapEvidence,
    missing: dict[str, Any],
    policy: Any,  # noqa: ANN401 - drawn
) -> None:
    """Taking a measurement away never turns another flag into UNFAITHFUL."""
    if flag(evidence, policy) is not Flag.UNFAITHFUL:
        assert flag(replace(evidence, **missing), policy) is not Flag.UNFAITHFUL


@st.composite
def worse(draw: st.DrawFn, evidence: MapEvidence) -> MapEvidence:
    """The same evidence with one result worse."""
    lower = st.none() if evidence.alignment is None else st.floats(-1, evidence.alignment)
    changes: dict[str, Any] = draw(
        st.sampled_from(
            [
                {"alignment": draw(lower)},
                {"alignment": None},
                {"width": draw(st.floats(evidence.width, 2))},
                {"finite": False},
                {"flat": True},
                {"may_omit_top_effect": True},
                {"operators_disagree": True},
                {"calibrated": False},
                {"rewiring": CheckOutcome.CONTRADICTS},
                {"rewiring": CheckOutcome.ERRORED},
                *(
                    {name: outcome}
                    for name in ("instrument", "reach")
                    for outcome in CheckOutcome
                    if outcome is not CheckOutcome.SUPPORTS
                ),
            ]
        )
    )
    return replace(evidence, **changes)


@given(st.data(), EVIDENCE | MEASURED, POLICIES)
def test_a_worse_result_never_improves_a_verdict(
    data: st.DataObject,
    evidence: MapEvidence,
    policy: Any,  # noqa: ANN401 - drawn
) -> None:
    """What is not FAITHFUL does not become FAITHFUL when one of its results gets worse."""
    if flag(evidence, policy) is not Flag.FAITHFUL:
        assert flag(data.draw(worse(evidence)), policy) is not Flag.FAITHFUL


@given(MEASURED, st.floats(0, 1))
def test_a_better_alignment_never_makes_a_map_unfaithful(evidence: MapEvidence, gain: float) -> None:
    """What is not UNFAITHFUL does not become UNFAITHFUL when A rises."""
    if evidence.alignment is not None and flag(evidence) is not Flag.UNFAITHFUL:
        assert flag(replace(evidence, alignment=evidence.alignment + gain)) is not Flag.UNFAITHFUL


@given(MEASURED)
def test_a_narrower_width_never_turns_one_decision_into_the_other(evidence: MapEvidence) -> None:
    """More looks may decide what was open; what a wider interval decided, a narrower one confirms."""
    wide, narrow = flag(evidence), flag(replace(evidence, width=evidence.width / 2))
    assert {wide, narrow} != {Flag.FAITHFUL, Flag.UNFAITHFUL}
