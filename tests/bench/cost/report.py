"""What was found, as one value, and the same in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from tests.bench.cost.sweeps import REFERENCE_TOKENS, AtBatch, AtLength, AtRows, AtUnits
from tests.bench.cost.whole import LAST_LAYER_EDITS, Whole
from tests.bench.markdown import DASH, table
from tests.bench.results import Origin
from tests.bench.spread import Spread

GIB_IN_MIB = 1024.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A number to reach, for one size at one length."""

    what: str
    size: str
    tokens: int
    bound: float
    at_least: bool
    found: Callable[[Whole], Spread]

    def judged(self, whole: Whole) -> list[str]:
        """Say what was found, and whether that is enough."""
        spread = self.found(whole)
        return self._row(spread.middle, spread.text())

    def _row(self, value: float, text: str) -> list[str]:
        met = value >= self.bound if self.at_least else value <= self.bound
        bound = f"{'at least' if self.at_least else 'at most'} {self.bound:g}"
        return [self.what, self.size, str(self.tokens), bound, text, "met" if met else "**not met**"]


def _fan_out(whole: Whole) -> Spread:
    return whole.fan_out_efficiency


def _whole(whole: Whole) -> Spread:
    return whole.whole_ratio


def _one_by_one(whole: Whole) -> Spread:
    return whole.one_by_one_checks_ratio


def _last_layer(whole: Whole) -> Spread:
    return whole.last_layer_ratio


FAN_OUT = "rows/s of the checks / the stock model's, best batches"
WHOLE = "explanation / its rows on the stock model, best batches"
ONE_BY_ONE = "the checks' rows on the stock model one by one / the checks"
LAST_LAYER = f"{LAST_LAYER_EDITS} last-layer permutations: as many forwards / ours"
MEMORY = "peak of an explanation above the weights, GiB"
MEMORY_SIZE, MEMORY_TOKENS, MEMORY_GIB = "12x768", 512, 2.0
TARGETS = (
    *(
        Target(what=FAN_OUT, size=size, tokens=tokens, bound=0.9, at_least=True, found=_fan_out)
        for size in ("6x384", "12x768")
        for tokens in (32, 128)
    ),
    Target(what=WHOLE, size="12x768", tokens=128, bound=1.2, at_least=False, found=_whole),
    Target(what=ONE_BY_ONE, size="6x384", tokens=32, bound=2.0, at_least=True, found=_one_by_one),
    Target(what=ONE_BY_ONE, size="6x384", tokens=128, bound=1.2, at_least=True, found=_one_by_one),
    *(
        Target(what=LAST_LAYER, size=size, tokens=tokens, bound=100.0, at_least=True, found=_last_layer)
        for size in ("6x384", "12x768")
        for tokens in (32, 128)
    ),
)
"""Numbers that the design wants, as far as a processor can show them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run of the benchmark; sizes are added as they are measured."""

    origin: Origin
    whole: tuple[Whole, ...] = ()
    lengths: tuple[AtLength, ...] = ()
    units: tuple[AtUnits, ...] = ()
    rows: tuple[AtRows, ...] = ()
    batches: tuple[AtBatch, ...] = ()

    def plus(self, other: Report) -> Report:
        """Add what another report of the same run holds."""
        names = [field.name for field in fields(self) if field.name != "origin"]
        return Report(origin=self.origin, **{name: getattr(self, name) + getattr(other, name) for name in names})

    def as_json(self) -> dict[str, Any]:
        """All numbers, the origin apart."""
        return {
            name: [asdict(each) for each in getattr(self, name)]
            for name in ("whole", "lengths", "units", "rows", "batches")
        }

    def as_markdown(self) -> str:
        """A page for the folder of results."""
        return "\n\n".join(self._blocks()) + "\n"

    def _blocks(self) -> Iterator[str]:
        yield from self.origin.head("What an explanation costs")
        yield INTRODUCTION
        yield from self._targets()
        if self.whole:
            heads = ["measure", *(f"{each.size}, {each.tokens} tokens" for each in self.whole)]
            yield "## An explanation against its rows on the stock model"
            yield table(heads, _transposed([_ratios(each) for each in self.whole]))
            yield "## Where the time goes: wall time of each stage, and its share of the explanation"
            yield table(["stage", *heads[1:]], _transposed([_stages(each) for each in self.whole]))
            yield "## Rows by kind: rows/s over the stock model's in batches of the same size"
            yield table(["row", *heads[1:]], _transposed([_kinds(each) for each in self.whole]))
        if self.lengths:
            yield "## Cost against length"
            yield table(LENGTH_HEADS, [_length(each) for each in self.lengths])
        if self.units:
            yield "## Cost against units: the same text, its words grouped"
            yield table(UNIT_HEADS, [_unit(each) for each in self.units])
        if self.rows:
            yield "## Cost against rows: the same text, `max_rows` as asked for"
            yield table(ROW_HEADS, [_row(each) for each in self.rows])
        if self.batches:
            yield "## Cost against batch size: rows with half of the words removed"
            yield table(BATCH_HEADS, [_batch(each) for each in self.batches])
        yield NOTES

    def _targets(self) -> Iterator[str]:
        found = {(each.size, each.tokens): each for each in self.whole}
        rows = [
            target.judged(found[target.size, target.tokens])
            for target in TARGETS
            if (target.size, target.tokens) in found
        ]
        for each in self.lengths:
            if (each.size, each.tokens) == (MEMORY_SIZE, MEMORY_TOKENS):
                peak = each.peak_mib / GIB_IN_MIB
                met = "met" if peak < MEMORY_GIB else "**not met**"
                rows.append([MEMORY, each.size, str(each.tokens), f"below {MEMORY_GIB:g}", f"{peak:.2f}", met])
        if rows:
            yield "## Targets"
            yield table(["measure", "model", "tokens", "target", "found", ""], rows)


INTRODUCTION = """\
The demo model (3 layers, 192 wide, 4 heads), a random BERT of MiniLM's size (6x384, 12 heads) and one of BERT-base's
(12x768, 12 heads), in float32. Numbers are medians [quartiles] over texts and repeats, of processor time unless they
are called wall time; ratios are of what was measured in the same turn of this run."""
NOTES = """\
How to read it:

- The stock model's best batch is looked for among 1 to 128 rows of at most 4,096 tokens. One processor core gains
  little from batching where it is busy with arithmetic already.
- Rows may cost less than the stock model's, since the last layer computes one query.
- "Everything but the model" is an explanation whose every answer of the model is at hand: encoding, maps in units,
  statistics, verdict, serialisation.
- The demo model reads at most 256 tokens. Texts of more than 64 words have consecutive words grouped.
- Memory is the process's peak above what it held with the model loaded, before the first explanation; lengths rise, and
  what libraries keep from a shorter one counts.
- An explanation is "decided" if none of its maps is INCONCLUSIVE (BUDGET)."""


def _transposed(columns: Sequence[dict[str, str]]) -> list[list[str]]:
    """Lay columns that name their cells side by side; a column may lack some."""
    names = list(dict.fromkeys(name for column in columns for name in column))
    return [[name, *(column.get(name, DASH) for column in columns)] for name in names]


def _ratios(found: Whole) -> dict[str, str]:
    return {
        "rows of one explanation": f"{found.rows:.0f}",
        "looks": f"{found.looks:.0f}",
        "explanation, ms": found.explanation_ms.text(0),
        "explanation, wall time, ms": found.wall_ms.text(0),
        "stock model's best batch": str(found.stock_batch),
        WHOLE: found.whole_ratio.text(),
        "its rows on the stock model one by one / explanation": found.one_by_one_ratio.text(),
        ONE_BY_ONE: found.one_by_one_checks_ratio.text(),
        FAN_OUT: found.fan_out_efficiency.text(),
        "everything but the model, per look, ms": found.statistics_ms_per_look.text(1),
        "everything but the model / explanation": found.statistics_share.text(3),
        LAST_LAYER: found.last_layer_ratio.text(0),
        "largest difference in logits to the same edits one by one": f"{found.last_layer_error:.1e}",
    }


def _stages(found: Whole) -> dict[str, str]:
    return {
        name: f"{spread.middle:,.1f} ms, {found.stages_share[name].middle:.1%}"
        for name, spread in found.stages_ms.items()
    }


def _kinds(found: Whole) -> dict[str, str]:
    return {name: spread.text() for name, spread in found.efficiency_by_row.items()}


LENGTH_HEADS = (
    "model",
    "tokens",
    "units",
    "rows",
    "n",
    "explanation, ms",
    "a row, ms",
    f"times {REFERENCE_TOKENS} tokens",
    WHOLE,
    "everything but the model / explanation",
    "memory peak, MiB",
)


def _length(found: AtLength) -> list[str]:
    return [
        found.size,
        str(found.tokens),
        str(found.units),
        str(found.rows),
        str(found.times),
        found.explanation_ms.text(0),
        f"{found.explanation_ms.middle / found.rows:.1f}",
        DASH if found.over_reference is None else found.over_reference.text(),
        found.whole_ratio.text(),
        found.statistics_share.text(3),
        f"{found.peak_mib:,.0f}",
    ]


UNIT_HEADS = (
    "model",
    "tokens",
    "units",
    "rows",
    "explanation, ms",
    "a row / a row at most units",
    "everything but the model, ms",
)


def _unit(found: AtUnits) -> list[str]:
    return [
        found.size,
        str(found.tokens),
        str(found.units),
        str(found.rows),
        found.explanation_ms.text(0),
        found.over_most.text(),
        found.statistics_ms.text(1),
    ]


ROW_HEADS = ("model", "tokens", "at most", "rows run", "decided", "explanation, ms", "over most rows")


def _row(found: AtRows) -> list[str]:
    return [
        found.size,
        str(found.tokens),
        str(found.max_rows),
        str(found.rows),
        "yes" if found.decided else "no",
        found.explanation_ms.text(0),
        found.over_most.text(),
    ]


BATCH_HEADS = ("model", "tokens", "rows at once", "a row, ms", "a row / a row alone", "rows/s over the stock model's")


def _batch(found: AtBatch) -> list[str]:
    return [
        found.size,
        str(found.tokens),
        str(found.batch),
        found.row_ms.text(1),
        found.over_one.text(),
        found.stock_ratio.text(),
    ]
