"""Permits: what does not fit is refused at once, and whatever happens a permit comes back."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from rollcall.admission.gate import Gate
from rollcall.domain.errors import CapacityError, Draining, Overloaded


def test_no_more_than_allowed_are_in_flight() -> None:
    """The request after the last permit is refused with a hint when to come back; a returned permit serves the next."""
    gate = Gate(max_in_flight=2, share=1.0)
    with ExitStack() as held:
        held.enter_context(gate.permit(explain=False))
        with gate.permit(explain=True):
            assert gate.in_flight == 2
            with pytest.raises(Overloaded) as refusal, gate.permit(explain=False):
                pass
            assert refusal.value.retry_after > 0
        with gate.permit(explain=False):
            assert gate.in_flight == 2
    assert gate.in_flight == gate.explaining == 0


def test_explanations_leave_room_for_predictions() -> None:
    """Explanations hold no more than their share, predictions may use all of it."""
    gate = Gate(max_in_flight=4, share=0.5)
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(gate.permit(explain=True))
        with pytest.raises(Overloaded), gate.permit(explain=True):
            pass
        for _ in range(2):
            held.enter_context(gate.permit(explain=False))
        with pytest.raises(Overloaded), gate.permit(explain=False):
            pass
    with ExitStack() as held:
        for _ in range(4):
            held.enter_context(gate.permit(explain=False))
        assert gate.explaining == 0


def test_there_is_always_room_for_one_explanation() -> None:
    """The smallest share is one explanation at a time, not none."""
    gate = Gate(max_in_flight=2, share=0.01)
    with gate.permit(explain=True), pytest.raises(Overloaded), gate.permit(explain=True):
        pass


def test_the_share_may_change_while_in_use() -> None:
    """A smaller share takes nothing from those who are in; it counts for those who come."""
    gate = Gate(max_in_flight=4, share=1.0)
    with gate.permit(explain=True), gate.permit(explain=True):
        gate.share = 0.25
        with pytest.raises(Overloaded), gate.permit(explain=True):
            pass
        gate.share = 1.0
        with gate.permit(explain=True):
            assert gate.explaining == 3


def test_a_failure_gives_the_permit_back() -> None:
    """A request that fails leaves no trace in the count."""
    gate = Gate(max_in_flight=1, share=1.0)
    for explain in (True, False):
        with pytest.raises(ArithmeticError), gate.permit(explain=explain):
            raise ArithmeticError
        assert gate.in_flight == gate.explaining == 0


def test_a_closed_gate_lets_nobody_in_and_everybody_out() -> None:
    """A server that drains refuses newcomers as such, and finishes those who are in."""
    gate = Gate(max_in_flight=2, share=1.0)
    with gate.permit(explain=True):
        gate.close()
        with pytest.raises(Draining) as refusal, gate.permit(explain=False):
            pass
        assert isinstance(refusal.value, CapacityError)
    assert gate.in_flight == 0
