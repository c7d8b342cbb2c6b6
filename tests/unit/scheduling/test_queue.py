"""The row queue: who goes first, who shares a batch, how large it is. No threads; the clock is a number."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollcall.domain.compute import Job, Priority
from rollcall.scheduling.latency import LatencyModel
from rollcall.scheduling.memory import RowMemory
from rollcall.scheduling.queue import LEAST_TOKENS, MOST_CALLERS, Ask, Batch, Kind, Limits, RowQueue

KINDS = {Priority.PREDICT: Kind.PREDICTIONS, Priority.BASE: Kind.CAPTURE, Priority.CHECK: Kind.ROWS}


def queue(*, fixed: float = 0.0, per_token: float = 0.001, **limits: float) -> RowQueue:
    """A queue whose batches take `fixed` seconds and `per_token` for each token."""
    bounds = replace(Limits(max_tokens=512, max_seconds=1e9), **limits)  # type: ignore[arg-type] # numbers
    latencies = {("m", kind): LatencyModel(fixed=fixed, per_work=per_token, observed=9) for kind in Kind}
    return RowQueue(limits=bounds, latencies=latencies)


def ask(
    rows: int = 1,
    *,
    priority: Priority = Priority.CHECK,
    length: int = 10,
    caller: str = "",
    arrived: float = 0.0,
    left: int | None = None,
    name: str = "",
    **fields: object,
) -> Ask:
    """Rows that wait."""
    return Ask(
        job=Job(arrived=arrived, caller=caller, rows_left=rows if left is None else left),
        kind=KINDS.get(priority, Kind.ROWS),
        model="m",
        priority=priority,
        rows=rows,
        length=length,
        queued_at=arrived,
        sharing=priority is not Priority.BASE,
        payload=name,
        **fields,  # type: ignore[arg-type] # the other fields
    )


def filled(waiting: RowQueue, *asks: Ask) -> RowQueue:
    """Put all in."""
    for each in asks:
        waiting.put(each)
    return waiting


def names(batch: Batch | None) -> list[tuple[str, int]]:
    """Who is in a batch, with how many rows."""
    assert batch is not None
    return [(share.ask.payload, share.rows) for share in batch.shares]


def drain(waiting: RowQueue, now: float = 0.0, seconds: float = 0.0) -> list[list[tuple[str, int]]]:
    """Cut until nothing is left, each batch taking so long."""
    found = []
    while (batch := waiting.cut(now)) is not None:
        found.append(names(batch))
        now += seconds
        waiting.ran(batch, seconds, now)
    return found


def test_nothing_waits_while_the_device_is_idle() -> None:
    """A single row is cut at once, without a timer; an empty queue gives nothing."""
    waiting = queue()
    assert waiting.cut(0.0) is None
    waiting.put(ask(name="a"))
    assert names(waiting.cut(0.0)) == [("a", 1)]
    assert waiting.cut(0.0) is None


def test_predictions_go_first_and_untouched_inputs_before_checks() -> None:
    """Whoever wants only a prediction overtakes; every answer has its maps before anybody's checks go on."""
    waiting = filled(
        queue(),
        ask(name="check"),
        ask(name="base", priority=Priority.BASE),
        ask(name="predict", priority=Priority.PREDICT),
        ask(name="later", priority=Priority.BACKGROUND),
    )
    assert drain(waiting) == [[("predict", 1)], [("base", 1)], [("check", 1)], [("later", 1)]]


def test_predictions_take_no_more_than_their_share() -> None:
    """While others wait, predictions that never end leave them a part of the device; alone they take it all."""
    waiting = filled(queue(predict_share=0.75), *(ask(name="p", priority=Priority.PREDICT) for _ in range(400)))
    waiting.limits = replace(waiting.limits, max_tokens=10)
    for number in range(100):
        waiting.put(ask(name="c", arrived=float(number)))
    turns = [batch[0][0] for batch in drain(waiting, seconds=0.01)[:200]]
    assert 0.70 <= turns.count("p") / len(turns) <= 0.80
    alone = filled(queue(predict_share=0.1), *(ask(name="p", priority=Priority.PREDICT) for _ in range(5)))
    assert drain(alone, seconds=0.01) == [[("p", 1)] * 5]


def test_background_work_runs_when_nothing_else_does() -> None:
    """Old decisions are checked again only while nobody waits."""
    waiting = filled(queue(max_tokens=20), ask(4, name="old", priority=Priority.BACKGROUND))
    first = waiting.cut(0.0)
    assert names(first) == [("old", 2)]
    waiting.put(ask(name="new"))
    waiting.limits = replace(waiting.limits, max_tokens=10)
    assert drain(waiting) == [[("new", 1)], [("old", 1)], [("old", 1)]]


def test_least_work_left_goes_first() -> None:
    """Of two explanations the one that is nearly done finishes, however much the other has asked for."""
    waiting = filled(queue(max_tokens=80), ask(8, name="new", left=90), ask(8, name="nearly done", left=8))
    assert drain(waiting) == [[("nearly done", 8)], [("new", 8)]]


def test_waiting_makes_up_for_work() -> None:
    """A long one is not overtaken for ever: what it has waited counts against what it has left."""
    long, short = ask(8, name="long", left=100, arrived=0.0), ask(8, name="short", left=8, arrived=0.5)
    assert drain(filled(queue(max_tokens=80), long, short), now=1.0)[0] == [("short", 8)]
    long, short = ask(8, name="long", left=100, arrived=0.0), ask(8, name="short", left=8, arrived=2.0)
    assert drain(filled(queue(max_tokens=80), long, short), now=2.0)[0] == [("long", 8)]


def test_a_batch_takes_no_more_memory_than_it_may() -> None:
    """Rows are cut by bytes where these are known; one that is too large alone is tried alone."""
    waiting = filled(queue(), ask(8, name="a"), ask(2, name="b", length=50))
    waiting.memories["m", Kind.ROWS] = RowMemory(per_token=1, per_square=1)
    waiting.budgets["m"] = 400
    assert drain(waiting) == [[("a", 3)], [("a", 3)], [("a", 2)], [("b", 1)], [("b", 1)]]
    bounds = waiting.bounds("m", 10)
    assert (bounds.batch_bytes, bounds.longest_row_bytes, bounds.tight) == (400, {"rows": 110}, False)
    assert bounds.longest_rows == {"rows": 3}
    assert waiting.bounds("m", 50).tight


def test_callers_get_equal_time() -> None:
    """One caller's hundred requests do not keep another one's single one waiting, and long rows count as long."""
    waiting = queue(max_tokens=40)
    for number in range(30):
        waiting.put(ask(1, name="many", caller="a", length=40, arrived=float(number)))
    for number in range(30):
        waiting.put(ask(1, name="few", caller="b", length=10, arrived=float(number)))
    order = [name for batch in drain(waiting, now=100.0, seconds=0.01)[:12] for name, _ in batch]
    assert order.count("many") == pytest.approx(6, abs=1)


def test_callers_weights_count() -> None:
    """A caller with three times the weight gets three times the device."""
    waiting = queue(max_tokens=10)
    waiting.weights = {"heavy": 3.0}
    for number in range(60):
        waiting.put(ask(name="h", caller="heavy", arrived=float(number)))
        waiting.put(ask(name="l", caller="light", arrived=float(number)))
    order = [batch[0][0] for batch in drain(waiting, seconds=0.01)[:40]]
    assert order.count("h") == 30


def test_absence_is_no_credit() -> None:
    """Who comes back after a while starts level with the others, and does not take the device for that while."""
    waiting = queue(max_tokens=10)
    for number in range(50):
        waiting.put(ask(name="a", caller="a", arrived=float(number)))
    for _ in range(20):
        batch = waiting.cut(0.0)
        assert batch is not None
        waiting.ran(batch, 0.01, 0.0)
    for number in range(20):
        waiting.put(ask(name="b", caller="b", arrived=float(number)))
    order = [batch[0][0] for batch in drain(waiting, seconds=0.01)[:20]]
    assert order.count("b") == 10


def test_callers_who_come_and_go_are_forgotten() -> None:
    """However many tenants there ever were, memory stays bounded, and who has had most is remembered longest."""
    waiting = queue(max_tokens=10)
    for number in range(3 * MOST_CALLERS):
        waiting.put(ask(name="x", caller=f"caller-{number}", arrived=float(number)))
        batch = waiting.cut(0.0)
        assert batch is not None
        waiting.ran(batch, 100.0 if number == 0 else 0.01, 0.0)
        assert len(waiting._virtual) <= MOST_CALLERS
    assert waiting._virtual["caller-0"] == pytest.approx(100.0)


def test_rows_for_a_verdict_share_with_their_own_length_only() -> None:
    """No padding where a verdict hangs on the last digit."""
    waiting = filled(queue(), ask(2, name="a"), ask(3, name="b", length=12), ask(4, name="c"))
    assert sorted(drain(waiting)) == [[("a", 2), ("c", 4)], [("b", 3)]]


def test_predictions_are_padded_where_it_pays() -> None:
    """A longer prediction joins where its padding costs less than a batch of its own."""
    cheap = filled(queue(fixed=0.1), *(ask(name=str(n), priority=Priority.PREDICT, length=n) for n in (10, 60)))
    batch = cheap.cut(0.0)
    assert names(batch) == [("10", 1), ("60", 1)]
    assert batch is not None
    assert (batch.length, batch.rows, batch.padding) == (60, 2, 50)
    dear = filled(queue(fixed=0.01), *(ask(name=str(n), priority=Priority.PREDICT, length=n) for n in (10, 60)))
    assert drain(dear) == [[("10", 1)], [("60", 1)]]


def test_kinds_models_and_loners_do_not_mix() -> None:
    """What is no row, of another model, or changed by company has a batch of its own."""
    other = ask(name="other")
    other.model = "n"
    alone = ask(5, name="alone")
    alone.sharing = False
    waiting = filled(queue(max_tokens=30), ask(name="a"), other, alone, ask(name="b", priority=Priority.BASE))
    batches = drain(waiting)
    assert sorted(batches) == sorted([[("b", 1)], [("a", 1)], [("other", 1)], [("alone", 3)], [("alone", 2)]])


def test_batches_are_bounded_in_tokens() -> None:
    """No batch holds more padded tokens than allowed, except where one row alone does."""
    assert drain(filled(queue(max_tokens=25), ask(5, name="a"))) == [[("a", 2)], [("a", 2)], [("a", 1)]]
    assert drain(filled(queue(max_tokens=25), ask(2, name="a", length=100))) == [[("a", 1)], [("a", 1)]]


def test_batches_are_bounded_in_time_but_never_mostly_overhead() -> None:
    """Batches are cut so that a prediction that arrives now waits little, but not so small that rows cost twice."""
    short = filled(queue(per_token=0.001, max_seconds=0.4), ask(90, name="a"))
    assert drain(short)[0] == [("a", 40)]
    overhead = filled(queue(fixed=0.1, per_token=0.001, max_seconds=0.001), ask(90, name="a", length=10))
    waiting = replace(overhead.limits, max_tokens=10_000)
    overhead.limits = waiting
    assert drain(overhead)[0] == [("a", 70)]  # (8 - 1) fixed parts of 100 ms each, 10 ms a row
    least = filled(queue(per_token=1.0, max_seconds=0.001), ask(90, name="a"))
    assert drain(least)[0] == [("a", LEAST_TOKENS // 10)]
    long = filled(queue(per_token=1.0, max_seconds=0.001), ask(3, name="a", length=400))
    assert drain(long) == [[("a", 1)]] * 3


def test_rows_that_company_changes_are_cut_in_the_same_places() -> None:
    """Where batches change numbers, neither time nor company decides where a request's rows are cut."""
    alone = ask(7, name="a")
    alone.sharing = False
    waiting = filled(queue(max_tokens=30, max_seconds=0.001), alone, ask(9, name="b"))
    assert [batch for batch in drain(waiting) if batch[0][0] == "a"] == [[("a", 3)], [("a", 3)], [("a", 1)]]


def test_dropped_rows_are_not_run() -> None:
    """A request that has left takes what is not cut yet with it, once."""
    waiting = queue(max_tokens=20)
    leaving = ask(5, name="a")
    filled(waiting, leaving, ask(1, name="b"))
    assert names(waiting.cut(0.0)) == [("b", 1), ("a", 1)]
    assert waiting.drop(leaving) == 4
    assert waiting.drop(leaving) == 0
    assert waiting.cut(0.0) is None


def test_expired_requests_are_taken_out() -> None:
    """Rows of a request whose deadline has passed are handed back, the others stay."""
    late, timely, patient = ask(name="late"), ask(name="timely"), ask(name="patient")
    late.job.deadline, timely.job.deadline = 5.0, 9.0
    waiting = filled(queue(), late, timely, patient)
    assert waiting.drop_expired(4.9) == []
    assert waiting.drop_expired(5.0) == [late]
    assert drain(waiting, now=5.0) == [[("timely", 1), ("patient", 1)]]


def test_a_gate_holds_everything() -> None:
    """A test decides what waits together before anything is cut."""
    waiting = filled(queue(), ask(name="a"))
    waiting.gate = lambda held: held.rows >= 2
    assert waiting.cut(0.0) is None
    waiting.put(ask(name="b"))
    assert names(waiting.cut(0.0)) == [("a", 1), ("b", 1)]


def test_what_waits_can_be_told() -> None:
    """Rows, tokens, the oldest wait, and how long it will all take."""
    waiting = filled(queue(fixed=0.5, max_tokens=20), ask(3, name="a", arrived=1.0), ask(1, name="b", length=5))
    assert (waiting.rows, waiting.tokens, waiting.oldest(4.0)) == (4, 35, 4.0)
    assert waiting.expected("m", 3, 10) == pytest.approx(2 * 0.5 + 0.03)
    assert waiting.expected("m", 0, 10) == 0
    assert waiting.expected("unknown", 3, 10) == 0


def test_predictions_of_long_ago_slow_nobody_down() -> None:
    """While predictions take half of the device, rows take twice as long; when they are over, they do not any more."""
    waiting = queue()
    for number in range(200):
        waiting.put(ask(name="p", priority=Priority.PREDICT))
        batch = waiting.cut(number * 0.02)
        assert batch is not None
        waiting.ran(batch, 0.01, number * 0.02 + 0.01)
    waiting.latencies["m", Kind.ROWS] = LatencyModel(per_work=0.001, observed=9)
    assert waiting.expected("m", 10, 10, now=4.0) == pytest.approx(0.2, rel=0.1)
    assert waiting.expected("m", 10, 10, now=60.0) == pytest.approx(0.1, rel=0.01)


def test_what_batches_took_is_learned() -> None:
    """Estimates follow what was run, by kind: captures say nothing about rows."""
    waiting = RowQueue(limits=Limits(max_tokens=1000))
    for rows in (1, 4, 8, 2, 6):
        waiting.put(ask(rows, name="a"))
        batch = waiting.cut(0.0)
        assert batch is not None
        waiting.ran(batch, 0.005 + 0.01 * rows, 0.0)
    assert waiting.expected("m", 5, 10) == pytest.approx(0.055, rel=0.2)
    assert waiting.expected("m", 5, 10, Kind.CAPTURE) == 0


ASKS = st.builds(
    ask,
    st.integers(1, 20),
    priority=st.sampled_from(list(Priority)),
    length=st.sampled_from([8, 12, 30]),
    caller=st.sampled_from(["a", "b", "c"]),
    arrived=st.floats(0, 10),
    left=st.integers(1, 120),
)


@settings(deadline=None)
@given(st.lists(ASKS, max_size=25), st.integers(8, 200), st.floats(0, 0.1))
def test_every_row_runs_exactly_once(asks: list[Ask], max_tokens: int, fixed: float) -> None:
    """Whatever waits: each row is cut once, in order, in batches of one kind within their bounds."""
    asks = [replace(each, rows=1) if each.kind is Kind.CAPTURE else replace(each) for each in asks]
    waiting = filled(queue(fixed=fixed, max_tokens=max_tokens), *asks)
    seen: dict[int, int] = {}
    now = 10.0
    while (batch := waiting.cut(now)) is not None:
        now += 0.01
        waiting.ran(batch, 0.01, now)
        assert len({(share.ask.kind, share.ask.model) for share in batch.shares}) == 1
        assert batch.rows * batch.length <= max(max_tokens, batch.length)
        if batch.kind is not Kind.PREDICTIONS:
            assert batch.padding == 0
        for share in batch.shares:
            assert share.start == seen.get(id(share.ask), 0)
            assert share.rows > 0
            seen[id(share.ask)] = share.stop
    assert seen == {id(each): each.rows for each in asks}
    assert waiting.rows == waiting.tokens == 0
