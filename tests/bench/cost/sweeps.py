"""How the cost of an explanation grows: with its length, its units, the rows that it may run, and with batch size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from rollcall.backends.base import variants
from rollcall.domain.explanation import Explanation
from rollcall.domain.rows import Row
from rollcall.domain.verdicts import Reason
from tests.bench.cost.models import text
from tests.bench.cost.subjects import Bench, Subject
from tests.bench.results import log
from tests.bench.spread import Spread, in_turn

REFERENCE_TOKENS = 128
"""Costs at other lengths are told as multiples of the cost at this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtLength:
    """One size at one length. Ratios are of processor time in the same turn."""

    size: str
    tokens: int
    units: int
    rows: int
    times: int
    explanation_ms: Spread
    over_reference: Spread | None
    """Over the explanation at REFERENCE_TOKENS, or none where that is not measured."""
    whole_ratio: Spread
    """Over its rows on the stock model in its best batches."""
    statistics_share: Spread
    peak_mib: float
    """Above what the process held with the model loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtUnits:
    """The same text in so many units."""

    size: str
    tokens: int
    units: int
    rows: int
    explanation_ms: Spread
    over_most: Spread
    """Over the explanation with most units, per row."""
    statistics_ms: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class AtRows:
    """An explanation that may run so many rows."""

    size: str
    tokens: int
    max_rows: int
    rows: int
    decided: bool
    """Whether no map was left open for want of rows."""
    explanation_ms: Spread
    over_most: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class AtBatch:
    """Rows of a check in batches of one size."""

    size: str
    tokens: int
    batch: int
    row_ms: Spread
    over_one: Spread
    """A row's time over that of a row alone."""
    stock_ratio: Spread
    """Rows per second over the stock model's in batches of the same size."""


def over_length(
    bench: Bench, size: str, lengths: Sequence[int], peaks: Mapping[int, float], repeats: int
) -> list[AtLength]:
    """Explain one text of each length, in turn with its rows on the stock model."""
    subjects = {}
    for tokens in lengths:
        batch = bench.best_batch(tokens)
        log(f"{size}, {tokens} tokens: the stock model is best at {batch} rows at once ...")
        subjects[tokens] = bench.subject(tokens, 0, batch)
    actions: dict[str, Callable[[], object]] = {}
    for tokens, subject in subjects.items():
        actions[f"explanation {tokens}"] = partial(bench.explain, subject.text)
        actions[f"stock {tokens}"] = partial(bench.stock, subject.encoding, subject.rows, subject.stock_batch)
        actions[f"statistics {tokens}"] = partial(bench.replay, subject)
    log(f"{size}: {repeats} explanations of each length, in turn ...")
    spent = in_turn(actions, repeats=repeats)
    reference = spent.get(f"explanation {REFERENCE_TOKENS}")
    return [
        AtLength(
            size=size,
            tokens=tokens,
            units=len(subject.encoding.units),
            rows=subject.rows,
            times=repeats,
            explanation_ms=_milliseconds(spent[f"explanation {tokens}"]),
            over_reference=Spread.of_ratios(spent[f"explanation {tokens}"], reference) if reference else None,
            whole_ratio=Spread.of_ratios(spent[f"explanation {tokens}"], spent[f"stock {tokens}"]),
            statistics_share=Spread.of_ratios(spent[f"statistics {tokens}"], spent[f"explanation {tokens}"]),
            peak_mib=peaks[tokens],
        )
        for tokens, subject in subjects.items()
    ]


def over_units(bench: Bench, size: str, tokens: int, units: Sequence[int], repeats: int) -> list[AtUnits]:
    """Explain one text whose words are grouped into fewer and fewer units."""
    log(f"{size}, {tokens} tokens: {', '.join(map(str, units))} units ...")
    subjects: dict[int, Subject] = {}
    for count in units:
        with bench.units(count):
            subjects[count] = bench.subject(tokens, 0, 1)

    def explain(count: int) -> None:
        with bench.units(count):
            bench.explain(subjects[count].text)

    actions: dict[str, Callable[[], object]] = {}
    for count, subject in subjects.items():
        actions[f"explanation {count}"] = partial(explain, count)
        actions[f"statistics {count}"] = partial(bench.replay, subject)
    spent = in_turn(actions, repeats=repeats)
    most = subjects[max(subjects)]
    most_per_row = [seconds / most.rows for seconds in spent[f"explanation {max(subjects)}"]]
    return [
        AtUnits(
            size=size,
            tokens=tokens,
            units=len(subject.encoding.units),
            rows=subject.rows,
            explanation_ms=_milliseconds(spent[f"explanation {count}"]),
            over_most=Spread.of_ratios(
                [seconds / subject.rows for seconds in spent[f"explanation {count}"]], most_per_row
            ),
            statistics_ms=_milliseconds(spent[f"statistics {count}"]),
        )
        for count, subject in subjects.items()
    ]


def over_rows(bench: Bench, size: str, tokens: int, max_rows: Sequence[int], repeats: int) -> list[AtRows]:
    """Explain one text with more and more rows allowed."""
    log(f"{size}, {tokens} tokens: at most {', '.join(map(str, max_rows))} rows ...")
    request = text(bench.tiny, tokens, 0)
    found: dict[int, Explanation] = {}

    def explain(most: int) -> None:
        found[most] = bench.explain(request, most)

    spent = in_turn({str(most): partial(explain, most) for most in max_rows}, repeats=repeats)
    return [
        AtRows(
            size=size,
            tokens=tokens,
            max_rows=most,
            rows=found[most].rows,
            decided=all(each.verdict.reason is not Reason.BUDGET for each in found[most].attributions),
            explanation_ms=_milliseconds(spent[str(most)]),
            over_most=Spread.of_ratios(spent[str(most)], spent[str(max(max_rows))]),
        )
        for most in max_rows
    ]


def over_batch(bench: Bench, size: str, tokens: int, batches: Sequence[int], repeats: int) -> list[AtBatch]:
    """Run rows with half of the words removed, and the stock model, in batches of each size."""
    log(f"{size}, {tokens} tokens: batches of {', '.join(map(str, batches))} rows ...")
    encoding = bench.subject(tokens, 0, 1).encoding
    engine = bench.tiny.engine()
    removed = np.arange(len(encoding.units)) % 2 == 0

    def run(batch: int) -> None:
        engine.run("tiny", variants(encoding, [Row(removed=removed)] * batch))

    actions: dict[str, Callable[[], object]] = {}
    for batch in batches:
        actions[f"ours {batch}"] = partial(run, batch)
        actions[f"stock {batch}"] = partial(bench.stock, encoding, batch, batch)
    spent = in_turn(actions, repeats=repeats)
    alone = [seconds / min(batches) for seconds in spent[f"ours {min(batches)}"]]
    return [
        AtBatch(
            size=size,
            tokens=tokens,
            batch=batch,
            row_ms=_milliseconds([seconds / batch for seconds in spent[f"ours {batch}"]]),
            over_one=Spread.of_ratios([seconds / batch for seconds in spent[f"ours {batch}"]], alone),
            stock_ratio=Spread.of_ratios(spent[f"stock {batch}"], spent[f"ours {batch}"]),
        )
        for batch in batches
    ]


def _milliseconds(seconds: Sequence[float]) -> Spread:
    return Spread.of([each * 1000 for each in seconds])
