"""What was found of the cost of explanations, as a page of tables and as numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.bench.cost.sweeps import REFERENCE_TOKENS, AtBatch, AtLength, AtRows, AtUnits
from tests.bench.cost.whole import LAST_LAYER_EDITS, Whole
from tests.bench.markdown import DASH, table
from tests.bench.results import Origin
from tests.bench.spread import Spread

WHOLE_RATIO, FAN_OUT, LAST_LAYER = 1.2, 0.9, 100
"""Targets: an explanation over its rows, its checks' rows per second over the stock model's, last-layer edits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that was found; what was not measured is empty."""

    origin: Origin
    whole: tuple[Whole, ...] = ()
    lengths: tuple[AtLength, ...] = ()
    units: tuple[AtUnits, ...] = ()
    rows: tuple[AtRows, ...] = ()
    batches: tuple[AtBatch, ...] = ()

    def numbers(self) -> dict[str, Any]:
        """All of it, the origin apart."""
        return {name: value for name, value in asdict(self).items() if name != "origin"}

    def page(self) -> str:
        """Write the page."""
        return "\n\n".join(self._blocks()) + "\n"

    def _blocks(self) -> Iterator[str]:
        yield from self.origin.head("What an explanation costs")
        yield (
            "Times are processor time of all threads, medians with [quartiles], of one text's explanation at level"
            " STANDARD with the reply serialised; ratios are of what was measured in the same turn. Stages are wall"
            " time. Models are random but for the demo model: 6x384 has MiniLM's size, 12x768 BERT-base's."
        )
        for title, heads, lines in (
            ("An explanation and its rows on the stock model", WHOLE, [_whole(each) for each in self.whole]),
            ("Over length", LENGTHS, [_length(each) for each in self.lengths]),
            ("Over units: one text, grouped", UNITS, [_units(each) for each in self.units]),
            ("Over the rows that it may run", ROWS, [_rows(each) for each in self.rows]),
            ("A row of a check, over the size of its batch", BATCHES, [_batch(each) for each in self.batches]),
        ):
            if lines:
                yield f"## {title}"
                yield table(heads, lines)
        if self.whole:
            yield "## Stages, and rows by kind"
            yield table(STAGES, [line for each in self.whole for line in _stages(each)])
            yield table(KINDS, [line for each in self.whole for line in _kinds(each)])


WHOLE = (
    "model",
    "tokens",
    "rows",
    "looks",
    "stock batch",
    "explanation, ms",
    "wall, ms",
    f"over its rows (at most {WHOLE_RATIO})",
    f"rows/s of its checks over the stock model's (at least {FAN_OUT})",
    "its rows one by one over it",
    "its checks' rows one by one over them",
    "all but the model, ms a look",
    "all but the model, share",
    f"{LAST_LAYER_EDITS} last-layer edits: forwards over ours (at least {LAST_LAYER})",
    "their largest difference",
)


def _whole(found: Whole) -> list[str]:
    return [
        *_named(found),
        f"{found.rows:g}",
        f"{found.looks:g}",
        str(found.stock_batch),
        found.explanation_ms.text(0),
        found.wall_ms.text(0),
        found.whole_ratio.text(),
        found.fan_out_efficiency.text(),
        found.one_by_one_ratio.text(),
        found.one_by_one_checks_ratio.text(),
        found.statistics_ms_per_look.text(1),
        found.statistics_share.text(3),
        found.last_layer_ratio.text(0),
        f"{found.last_layer_error:.1e}",
    ]


LENGTHS = (
    "model",
    "tokens",
    "units",
    "rows",
    "explanation, ms",
    f"over {REFERENCE_TOKENS} tokens",
    "over its rows on the stock model",
    "all but the model, share",
    "peak memory above the model, MiB",
)


def _length(found: AtLength) -> list[str]:
    return [
        *_named(found),
        str(found.units),
        str(found.rows),
        found.explanation_ms.text(0),
        _or_dash(found.over_reference),
        found.whole_ratio.text(),
        found.statistics_share.text(3),
        f"{found.peak_mib:,.0f}",
    ]


UNITS = ("model", "tokens", "units", "rows", "explanation, ms", "a row over one at most units", "all but the model, ms")


def _units(found: AtUnits) -> list[str]:
    return [
        *_named(found),
        str(found.units),
        str(found.rows),
        found.explanation_ms.text(0),
        found.over_most.text(),
        found.statistics_ms.text(1),
    ]


ROWS = ("model", "tokens", "at most", "rows", "decided", "explanation, ms", "over most rows")


def _rows(found: AtRows) -> list[str]:
    return [
        *_named(found),
        str(found.max_rows),
        str(found.rows),
        "yes" if found.decided else "no",
        found.explanation_ms.text(0),
        found.over_most.text(),
    ]


BATCHES = ("model", "tokens", "rows at once", "a row, ms", "over a row alone", "rows/s over the stock model's")


def _batch(found: AtBatch) -> list[str]:
    return [
        *_named(found),
        str(found.batch),
        found.row_ms.text(1),
        found.over_one.text(),
        found.stock_ratio.text(),
    ]


STAGES = ("model", "tokens", "stage", "wall, ms", "share of the explanation")


def _stages(found: Whole) -> list[list[str]]:
    return [
        [*_named(found), name, spread.text(1), found.stages_share[name].text(3)]
        for name, spread in found.stages_ms.items()
    ]


KINDS = ("model", "tokens", "kind of row", "rows/s over the stock model's")


def _kinds(found: Whole) -> list[list[str]]:
    return [[*_named(found), name, spread.text()] for name, spread in found.efficiency_by_row.items()]


def _named(found: Whole | AtLength | AtUnits | AtRows | AtBatch) -> Sequence[str]:
    return found.size, str(found.tokens)


def _or_dash(spread: Spread | None) -> str:
    return DASH if spread is None else spread.text()
