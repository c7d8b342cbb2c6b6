"""An explanation against its rows on the stock model, and what each of its parts takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np

from rollcall.backends.base import variants
from rollcall.domain.compute import Job
from rollcall.domain.explanation import Explanation
from rollcall.domain.maps import MapOptions
from rollcall.domain.rows import AttentionEdit, RemovalOperator, Row, RowResult
from tests.bench.cost.subjects import Bench, Subject
from tests.bench.results import log
from tests.bench.spread import Spread, in_turn

FAN_OUT_ROWS = 32
LEAST_FAN_OUT_ROWS = 4
LAST_LAYER_EDITS = 512
ONE_BY_ONE = 16
"""Forwards of one row each that stand for as many as there are edits."""
COMPARED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """One size at one length, over texts and repeats. Ratios are of processor time."""

    size: str
    tokens: int
    rows: float
    looks: float
    stock_batch: int
    explanation_ms: Spread
    wall_ms: Spread
    whole_ratio: Spread
    """The explanation over its rows on the stock model in its best batches."""
    one_by_one_ratio: Spread
    """Its rows on the stock model one by one, over the explanation."""
    one_by_one_checks_ratio: Spread
    fan_out_efficiency: Spread
    """Rows per second of its checks over the stock model's in its best batches."""
    statistics_ms_per_look: Spread
    statistics_share: Spread
    last_layer_ratio: Spread
    last_layer_error: float
    stages_ms: dict[str, Spread]
    """Wall time."""
    stages_share: dict[str, Spread]
    """Of the whole explanation's wall time."""
    efficiency_by_row: dict[str, Spread]


def measure(bench: Bench, size: str, tokens: int, *, texts: int, repeats: int) -> Whole:
    """Measure every quantity once per text and repeat, in turn."""
    batch = bench.best_batch(tokens)
    log(f"{size}, {tokens} tokens: the stock model is best at {batch} rows at once; {texts} texts ...")
    subjects = [bench.subject(tokens, seed, batch) for seed in range(texts)]
    spent: dict[str, list[float]] = {}
    explanations: list[Explanation] = []
    for subject in subjects:
        for name, seconds in in_turn(_actions(bench, subject, explanations), repeats=repeats).items():
            spent.setdefault(name, []).extend(seconds)
    looks = [subject.looks for subject in subjects for _ in range(repeats)]
    totals = [each.timing.total_seconds for each in explanations]
    stages = {
        name: [dict(each.timing.stages)[name] for each in explanations] for name, _ in explanations[0].timing.stages
    }

    def ratio(name: str, other: str) -> Spread:
        return Spread.of_ratios(spent[name], spent[other])

    log(f"{size}, {tokens} tokens: last-layer edits, and rows by kind ...")
    last_layer, error = _last_layer(bench, subjects[0], repeats)
    return Whole(
        size=size,
        tokens=tokens,
        rows=median(subject.rows for subject in subjects),
        looks=median(subject.looks for subject in subjects),
        stock_batch=batch,
        explanation_ms=Spread.of([seconds * 1000 for seconds in spent["explanation"]]),
        wall_ms=Spread.of([seconds * 1000 for seconds in totals]),
        whole_ratio=ratio("explanation", "stock"),
        one_by_one_ratio=ratio("one by one", "explanation"),
        one_by_one_checks_ratio=ratio("checks one by one", "checks"),
        fan_out_efficiency=ratio("stock checks", "checks"),
        statistics_ms_per_look=Spread.of_ratios([seconds * 1000 for seconds in spent["statistics"]], looks),
        statistics_share=ratio("statistics", "explanation"),
        last_layer_ratio=last_layer,
        last_layer_error=error,
        stages_ms={name: Spread.of([each * 1000 for each in seconds]) for name, seconds in stages.items()},
        stages_share={name: Spread.of_ratios(seconds, totals) for name, seconds in stages.items()},
        efficiency_by_row=_by_kind(bench, subjects[0], repeats),
    )


def _actions(bench: Bench, subject: Subject, explanations: list[Explanation]) -> dict[str, Callable[[], object]]:
    """What is measured, by name; explanations are kept for what they say of their stages."""
    encoding, batch, checked = subject.encoding, subject.stock_batch, subject.checked

    def run_checks() -> None:
        harness = bench.harness
        for call in subject.recording.calls:
            job = Job(arrived=time.monotonic())
            harness.wait(harness.dispatcher.run(job, "0", encoding, call.rows, MapOptions()))

    return {
        "explanation": lambda: explanations.append(bench.explain(subject.text)),
        "stock": lambda: bench.stock(encoding, subject.rows, batch),
        "one by one": lambda: bench.stock(encoding, subject.rows, 1),
        "checks one by one": lambda: bench.stock(encoding, checked, 1),
        "checks": run_checks,
        "stock checks": lambda: bench.stock(encoding, checked, batch),
        "statistics": lambda: bench.replay(subject),
    }


def _by_kind(bench: Bench, subject: Subject, repeats: int) -> dict[str, Spread]:
    """Rows per second of each kind of row, as a share of the stock model's in batches of the same size."""
    removed = np.arange(len(subject.encoding.units)) % 2 == 0
    kinds = {
        "untouched": Row(),
        "mask token": Row(removed=removed),
        "hidden keys": Row(removed=removed, operator=RemovalOperator.HIDDEN_KEYS),
        "uniform": Row(edit=AttentionEdit.UNIFORM),
        "identity": Row(edit=AttentionEdit.IDENTITY),
        "permuted": Row(edit=AttentionEdit.PERMUTED, seed=1),
    }
    engine, size = bench.tiny.engine(), min(FAN_OUT_ROWS, max(LEAST_FAN_OUT_ROWS, subject.stock_batch))

    def run(row: Row) -> None:
        engine.run("tiny", variants(subject.encoding, [row] * size))

    actions: dict[str, Callable[[], object]] = {name: partial(run, row) for name, row in kinds.items()}
    spent = in_turn({"stock": lambda: bench.stock(subject.encoding, size, size), **actions}, repeats=repeats)
    return {name: Spread.of_ratios(spent["stock"], spent[name]) for name in kinds}


def _last_layer(bench: Bench, subject: Subject, repeats: int) -> tuple[Spread, float]:
    """How many times faster permutations of the last layer are than as many forwards, and the largest difference.

    The difference is to the same edits run one by one through all layers, in logits.
    """
    backend, engine = bench.tiny.backend, bench.tiny.engine()
    layer = backend.shape.layers - 1
    edits = [Row(edit=AttentionEdit.PERMUTED, seed=seed, layers=(layer,)) for seed in range(LAST_LAYER_EDITS)]
    rows = variants(subject.encoding, edits)
    found: list[RowResult] = []

    def ours() -> None:
        found[:] = engine.run("tiny", rows)

    spent = in_turn({"ours": ours, "stock": lambda: bench.stock(subject.encoding, ONE_BY_ONE, 1)}, repeats=repeats)
    switches = backend.rows_join_late, backend.readout_row_suffices
    backend.rows_join_late = backend.readout_row_suffices = False
    try:
        alone = [engine.run("tiny", [row])[0] for row in rows[:COMPARED]]
    finally:
        backend.rows_join_late, backend.readout_row_suffices = switches
    error = max(float(np.abs(a.logits - b.logits).max()) for a, b in zip(found, alone, strict=False))
    forwards = [seconds / ONE_BY_ONE * LAST_LAYER_EDITS for seconds in spent["stock"]]
    return Spread.of_ratios(forwards, spent["ours"]), error
