"""The stopwatch: where a request's time went."""

from __future__ import annotations

import pytest

from rollcall.pipeline.stopwatch import Stopwatch


def test_stages_are_timed_in_their_order_and_add_up() -> None:
    """A stage that runs twice is one stage, where it first ran, with the time of both."""
    watch = Stopwatch()
    for name in ("encode", "look", "encode"):
        with watch.stage(name):
            pass
    timing = watch.timing()
    assert [name for name, _ in timing.stages] == ["encode", "look"]
    assert all(seconds >= 0 for _, seconds in timing.stages)
    assert sum(seconds for _, seconds in timing.stages) <= timing.total_seconds


def test_a_stage_that_fails_is_timed() -> None:
    """What went wrong took its time as well."""
    watch = Stopwatch()
    with pytest.raises(ArithmeticError), watch.stage("look"):
        raise ArithmeticError
    assert [name for name, _ in watch.timing().stages] == ["look"]
