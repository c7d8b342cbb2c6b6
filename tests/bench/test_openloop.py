"""Timetables and their summaries, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.openloop import (
    MIXES,
    WITHOUT_HINT,
    Answer,
    Due,
    Kind,
    Verdict,
    Verdicts,
    Window,
    arrival_times,
    make_texts,
    punctuality,
    quantile,
    summarise,
    timetable,
    unexpected,
)

WINDOW = Window(start=1.0, end=3.0)


def answer(
    at: float,
    took: float,
    code: str = "OK",
    *,
    kind: Kind = Kind.EXPLAIN,
    cut: bool = False,
    retry_after: float | None = None,
) -> Answer:
    """Return the answer to a request that was due at `at`, left .01 s late, and took `took` of its 2 seconds in all."""
    return Answer(
        due=Due(at=at, kind=kind, text="text"),
        sent=at + 0.01,
        done=at + took,
        deadline=2.0,
        code=code,
        cut=cut,
        retry_after=retry_after,
    )


def test_arrivals_are_a_poisson_process() -> None:
    """As many as the rate says, gaps exponential, in order, and the same again from the same seed."""
    times = arrival_times(50.0, 400.0, seed=3)
    gaps = np.diff(times)
    assert np.all(gaps >= 0)
    assert 0 <= times[0] <= times[-1] < 400.0
    assert len(times) == pytest.approx(20_000, rel=0.03)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)
    assert np.array_equal(times, arrival_times(50.0, 400.0, seed=3))
    assert len(arrival_times(50.0, 400.0, seed=4)) != len(times)


def test_timetables_mix_kinds_and_do_not_repeat_texts() -> None:
    """A share of the requests explains; a text comes again when all others have come."""
    texts = make_texts(100)
    plan = timetable(share=MIXES["mixed"], rate=50.0, seconds=40.0, texts=texts, seed=1)
    assert [due.at for due in plan] == sorted(due.at for due in plan)
    assert np.mean([due.kind is Kind.EXPLAIN for due in plan]) == pytest.approx(0.2, abs=0.03)
    assert all(len({due.text for due in plan[start : start + 100]}) == 100 for start in (0, 100))
    assert {due.kind for due in timetable(share=0.0, rate=50.0, seconds=1.0, texts=texts, seed=1)} == {Kind.PREDICT}
    assert timetable(share=1.0, rate=0.0, seconds=1.0, texts=texts, seed=1) == []


def test_texts_are_distinct_of_varying_length_and_always_the_same() -> None:
    """What is measured today can be measured again tomorrow."""
    texts = make_texts()
    lengths = [len(text.split()) for text in texts]
    assert len(set(texts)) == len(texts) == 600
    assert min(lengths) < 6
    assert max(lengths) > 30
    assert texts == make_texts()


def test_goodput_is_what_served_somebody_inside_the_window() -> None:
    """Answers from before the window that come inside it count, cut and late ones do not."""
    answers = [
        answer(0.5, 1.0),  # due in the warm-up, done in the window: goodput, but no latency
        answer(1.5, 0.2),
        answer(2.0, 0.4),
        answer(2.5, 1.5),  # due in the window, done after it: a latency, but no goodput
        answer(2.1, 0.1, cut=True),
        answer(2.2, 2.0, "DEADLINE_EXCEEDED"),
        answer(2.3, 0.01, "UNAVAILABLE", retry_after=1.0),
        answer(1.1, 0.1, kind=Kind.PREDICT),
    ]
    part = summarise(answers, Kind.EXPLAIN, WINDOW)
    assert part.kind == "explain"
    assert part.good_per_second == 3 / 2
    assert part.offered_per_second == 6 / 2
    assert part.p50_seconds == pytest.approx(0.4)
    assert part.codes == {"OK": 4, "DEADLINE_EXCEEDED": 1, "UNAVAILABLE": 1}
    assert (part.cut, part.refused, part.unavailable_with_retry_info) == (1, 1, 1)
    assert part.refused_p99_seconds == pytest.approx(0.01)


def test_a_deadline_refused_at_once_is_no_deadline_that_passed() -> None:
    """A caller that hears at once that there is no time was refused; one that waited in vain was not."""
    assert answer(0.0, 0.1, "DEADLINE_EXCEEDED").refused
    assert not answer(0.0, 2.0, "DEADLINE_EXCEEDED").refused


def test_nothing_measured_is_not_zero() -> None:
    """A point at which nobody was served has no latencies."""
    part = summarise([], Kind.PREDICT, WINDOW)
    assert (part.p50_seconds, part.p99_seconds, part.refused_p99_seconds) == (None, None, None)
    assert quantile([], 0.5) is None
    assert quantile([1.0, 3.0], 0.5) == 2.0


def test_the_generator_tells_on_itself() -> None:
    """Requests that left late, and the most that were open at once."""
    told = punctuality([answer(0.0, 1.0), answer(0.5, 1.0), answer(1.2, 0.1)])
    assert told.late_p99_seconds == pytest.approx(0.01)
    assert told.late_max_seconds == pytest.approx(0.01)
    assert told.most_open == 2
    assert punctuality([]).most_open == 0


def test_codes_that_may_not_come_are_counted() -> None:
    """A loaded server may refuse with a hint and let deadlines pass; nothing else."""
    fine = [answer(0.0, 0.1), answer(0.0, 2.0, "DEADLINE_EXCEEDED"), answer(0.0, 0.1, "UNAVAILABLE", retry_after=0.5)]
    assert not unexpected(fine)
    assert unexpected([*fine, answer(0.0, 0.1, "INTERNAL")]) == {"INTERNAL": 1}
    assert unexpected([answer(0.0, 0.1, "UNAVAILABLE")]) == {WITHOUT_HINT: 1}


@pytest.mark.parametrize(
    ("second", "contradictory"),
    [
        (Verdict(flag="FAITHFUL", reason="UNSPECIFIED", alignment=0.8), 0),
        (Verdict(flag="FAITHFUL", reason="UNSPECIFIED", alignment=0.80001), 0),
        (Verdict(flag="FAITHFUL", reason="UNSPECIFIED", alignment=0.81), 1),
        (Verdict(flag="FAITHFUL", reason="UNSPECIFIED", alignment=None), 1),
        (Verdict(flag="INCONCLUSIVE", reason="LOW_POWER", alignment=0.8), 1),
    ],
)
def test_a_text_has_one_verdict(second: Verdict, contradictory: int) -> None:
    """Whatever else the server had to do."""
    verdicts = Verdicts()
    verdicts.see("a", Verdict(flag="FAITHFUL", reason="UNSPECIFIED", alignment=0.8))
    verdicts.see("b", Verdict(flag="UNFAITHFUL", reason="UNSPECIFIED", alignment=None))
    verdicts.see("a", second)
    assert verdicts.contradictory() == contradictory
    assert verdicts.explanations == 3
    assert verdicts.spread() == pytest.approx(abs((second.alignment or 0.8) - 0.8))
