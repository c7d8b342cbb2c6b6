"""Are the hooks live? The positive and the negative control of every explanation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rollcall.checks.base import Subject
from rollcall.checks.instrument import InstrumentFinding, instrument, replay
from rollcall.domain.rows import AttentionEdit, Row, RowResult
from rollcall.domain.verdicts import CheckKind, CheckOutcome
from tests.subjects import NAN, answer, drive, subject

STATE = np.array([4.0, -2.0, 0.0])


def finding(
    *,
    duplicate: float = 0.0,
    identity: float = 0.0,
    uniform: float = 1.0,
    flat: bool = False,
    uniform_margin: float = 2.0,
) -> InstrumentFinding:
    """What the check finds where each row shifts the read-out state by so much, relative to its largest entry."""
    shifts = {AttentionEdit.NONE: duplicate, AttentionEdit.IDENTITY: identity, AttentionEdit.UNIFORM: uniform}

    def respond(row: Row) -> RowResult:
        margin = uniform_margin if row.edit is AttentionEdit.UNIFORM else 2.0
        return answer(margin, readout=STATE + np.array([0.0, 4.0 * shifts[row.edit], 0.0]))

    return drive(instrument(_about(), attention_is_uniform=flat), respond).finding


def _about() -> Subject:
    return subject(4, base=answer(2.0, readout=STATE))


def outcome(found: InstrumentFinding) -> CheckOutcome:
    """Outcome of the check itself."""
    return found.results[0].outcome


def test_it_asks_for_a_duplicate_an_identity_replay_and_uniform_attention() -> None:
    """Three rows, all with the state that the classifier reads."""
    driven = drive(instrument(_about(), attention_is_uniform=False), lambda _: answer(2.0, readout=STATE))
    assert [row.edit for row in driven.rows] == [AttentionEdit.NONE, AttentionEdit.IDENTITY, AttentionEdit.UNIFORM]
    assert all(row.readout for row in driven.rows)
    assert [r.kind for r in driven.finding.results] == [CheckKind.INSTRUMENT, CheckKind.UNIFORM_ATTENTION]


def test_live_hooks_pass() -> None:
    """Own maps put back change nothing, uniform attention changes something: the instruments work."""
    found = finding(identity=1e-6, uniform=0.01)
    assert found.passed
    assert not found.vacuous
    assert outcome(found) is CheckOutcome.SUPPORTS
    assert found.results[0].value == pytest.approx(0.01 / 1e-5)
    assert found.results[0].threshold == 10


@pytest.mark.parametrize(
    ("duplicate", "identity", "uniform", "expected"),
    [
        (0.0, 0.0, 1.01e-4, CheckOutcome.SUPPORTS),
        (0.0, 0.0, 0.99e-4, CheckOutcome.CONTRADICTS),
        (0.0, 3.9e-5, 1.0, CheckOutcome.SUPPORTS),
        (0.0, 4.1e-5, 1.0, CheckOutcome.CONTRADICTS),
        (1e-3, 3.9e-3, 1.01e-2, CheckOutcome.SUPPORTS),
        (1e-3, 3.9e-3, 0.99e-2, CheckOutcome.CONTRADICTS),
        (1e-3, 4.1e-3, 1.0, CheckOutcome.CONTRADICTS),
    ],
)
def test_shifts_are_counted_in_numerical_floors(
    duplicate: float, identity: float, uniform: float, expected: CheckOutcome
) -> None:
    """Replay may shift by four floors, the control must by more than ten; the floor is the duplicate's or 1e-5."""
    assert outcome(finding(duplicate=duplicate, identity=identity, uniform=uniform)) is expected


def test_dead_hooks_are_named_by_the_control_and_broken_replay_by_the_replay() -> None:
    """Whoever debugs it learns which control failed, and by how much."""
    dead, broken = finding(uniform=0.0), finding(identity=0.5)
    assert dead.results[0].statistic == "control_shift_in_floors"
    assert dead.results[0].value == 0
    assert broken.results[0].statistic == "identity_shift_in_floors"
    assert broken.results[0].value == pytest.approx(0.5 / 1e-5)


def test_attention_that_is_uniform_anyway_shows_nothing() -> None:
    """Where attention is uniform already, an unmoved state is no proof of dead hooks, and none of live ones."""
    found = finding(uniform=0.0, flat=True)
    assert outcome(found) is CheckOutcome.INCONCLUSIVE
    assert found.vacuous
    assert not found.passed


def test_uniform_attention_is_no_excuse_for_a_broken_replay() -> None:
    """An identity replay that changes the state fails whatever the attention is."""
    assert outcome(finding(identity=0.5, uniform=0.0, flat=True)) is CheckOutcome.CONTRADICTS


@pytest.mark.parametrize(("margin", "says"), [(2.0, "kept"), (-2.0, "changed")])
def test_uniform_attention_is_shown_and_never_decides(margin: float, says: str) -> None:
    """What uniform attention does to the answer is reported as a distance, without a verdict."""
    shown = finding(uniform_margin=margin).results[1]
    assert shown.outcome is CheckOutcome.INCONCLUSIVE
    assert shown.statistic == "tvd"
    assert shown.value == pytest.approx(0.0 if says == "kept" else np.tanh(1.0))
    assert says in shown.detail


@pytest.mark.parametrize("edit", [AttentionEdit.NONE, AttentionEdit.IDENTITY, AttentionEdit.UNIFORM])
def test_values_that_are_not_numbers_are_no_evidence(edit: AttentionEdit) -> None:
    """NaN neither passes nor fails the instruments: there is no measurement."""

    def respond(row: Row) -> RowResult:
        return answer(2.0, readout=STATE * (NAN if row.edit is edit else 1.0))

    found = drive(instrument(_about(), attention_is_uniform=False), respond).finding
    assert [(r.outcome, r.value) for r in found.results] == [(CheckOutcome.ERRORED, None)] * 2
    assert not found.passed


def test_a_state_of_zeros_is_compared_absolutely() -> None:
    """A read-out state of zeros has no scale to divide by."""
    about = replace(_about(), base=answer(2.0, readout=np.zeros(3)))
    respond = lambda row: answer(2.0, readout=np.full(3, 0.1 if row.edit is AttentionEdit.UNIFORM else 0.0))  # noqa: E731
    assert drive(instrument(about, attention_is_uniform=False), respond).finding.passed


def test_a_row_without_the_state_is_a_crash_not_a_pass() -> None:
    """A backend that forgets the state makes the check crash, which is no evidence."""
    with pytest.raises(ValueError, match="read-out state"):
        drive(instrument(_about(), attention_is_uniform=False), lambda _: answer(2.0))


@pytest.mark.parametrize(
    ("margin", "expected"),
    [(2.0, CheckOutcome.SUPPORTS), (2.01, CheckOutcome.CONTRADICTS), (NAN, CheckOutcome.ERRORED)],
)
def test_closed_attention_is_proved_by_a_second_run_alone(margin: float, expected: CheckOutcome) -> None:
    """Where attention cannot be edited the same input must answer the same, and no control is claimed."""
    driven = drive(replay(subject(4, base=answer(2.0))), lambda _: answer(margin))
    assert [row.edit for row in driven.rows] == [AttentionEdit.NONE]
    assert not driven.rows[0].readout
    instrument_result, uniform_result = driven.finding.results
    assert instrument_result.outcome is expected
    assert driven.finding.passed is (expected is CheckOutcome.SUPPORTS)
    assert instrument_result.rows == 1
    assert uniform_result.outcome in {CheckOutcome.SKIPPED, CheckOutcome.ERRORED}
