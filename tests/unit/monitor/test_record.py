"""A record counts per map and flag, and knows when a promise is broken."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from rollcall.domain.maps import MapKind
from rollcall.domain.verdicts import Flag
from rollcall.monitor.record import WINDOW, Answer, Identity, ModelRecord
from rollcall.monitor.tally import Tally

EMPTY = ModelRecord(identity=Identity(digest="sha256:aa", dtype="float32", calibration="c"), since=0)


def answers(wrong: int, right: int) -> ModelRecord:
    """A record of so many answers that were checked again."""
    record = EMPTY
    for number in range(wrong + right):
        record = record.answering(Answer(at=number, wrong=number < wrong))
    return record


def test_maps_are_kept_apart() -> None:
    """What is learnt of one map says nothing of another."""
    record = EMPTY.pooling(MapKind.RAW_ATTENTION, Flag.UNFAITHFUL, -0.3, 0.9)
    record = record.pooling(MapKind.RAW_ATTENTION, Flag.FAITHFUL, 0.7, 0.1)
    record = record.rechecking(MapKind.RAW_ATTENTION, Flag.FAITHFUL, wrong=True)
    record = record.rechecking(MapKind.NORM_ROLLOUT, Flag.FAITHFUL, wrong=False)
    raw = record.map(MapKind.RAW_ATTENTION)
    assert raw.pooled.mean_alignment == pytest.approx(0.2)
    assert raw.tally(Flag.FAITHFUL) == Tally(checked=1, wrong=1)
    assert raw.tally(Flag.UNFAITHFUL) == Tally()
    assert record.map(MapKind.NORM_ROLLOUT).pooled.requests == 0
    assert EMPTY.maps == {}


@pytest.mark.parametrize(
    ("wrong", "right", "broken"),
    [(0, 0, False), (5, 95, False), (9, 91, False), (10, 90, True), (2, 3, True), (63, 937, True)],
)
def test_a_promise_is_broken_where_chance_does_not_explain_it(wrong: int, right: int, broken: bool) -> None:  # noqa: FBT001 - a column
    """The exact lower limit decides: with alpha .05, 9 of 100 may be bad luck, 10 are not."""
    record = answers(wrong, right)
    tail = binom.sf(wrong - 1, wrong + right, 0.05)  # the chance of so many or more with exactly alpha
    assert bool(tail < 0.05) is broken
    assert record.breaks(0.05) is broken
    assert not record.breaks(None)


def test_the_past_is_forgotten() -> None:
    """Many good answers of long ago do not hide that the latest are wrong; of the window the oldest goes first."""
    record = answers(0, 3 * WINDOW)
    assert record.promised == Tally(checked=WINDOW, wrong=0)
    for number in range(80):
        record = record.answering(Answer(at=10_000 + number, wrong=True))
    assert record.promised == Tally(checked=WINDOW, wrong=80)
    assert record.breaks(0.05)
    assert record.answers[0].at == 2 * WINDOW + 80


def test_a_kept_promise_is_seldom_called_broken() -> None:
    """Where exactly alpha of the answers are wrong, a look at a full window calls it broken in about 5 % of cases."""
    wrong = np.random.default_rng(5).binomial(WINDOW, 0.05, 4000)
    calls = [Tally(checked=WINDOW, wrong=int(count)).lower_limit > 0.05 for count in wrong]
    assert np.mean(calls) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)
