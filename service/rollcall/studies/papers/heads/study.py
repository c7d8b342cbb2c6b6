"""Which heads matter, how many can go together, and how much of a decision is attention's at all?

Heads one by one by the product's own check; sets of heads and the other parts of the layers by `ablation`.

Shapes: L layer, H head, C class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch

from rollcall.checks.base import Subject
from rollcall.checks.heads import heads as heads_check
from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import MapKind
from rollcall.domain.rows import AttentionEdit, Row
from rollcall.models.loading import load_model
from rollcall.studies.flag.families import tuned
from rollcall.studies.flag.families.base import Family
from rollcall.studies.flag.families.corpora import CORPORA
from rollcall.studies.flag.members import member
from rollcall.studies.laboratory import Bench, Laboratory
from rollcall.studies.papers.agreement import agreement_family
from rollcall.studies.papers.frame import Context, Json, Result, Study
from rollcall.studies.papers.heads.ablation import Ablated, Part, Switches, shapley
from rollcall.studies.papers.heads.report import result
from rollcall.verdict.policies import STANDARD, THOROUGH

FULL_INPUTS, QUICK_INPUTS = 200, 100
"""The first half shows which heads matter, the other half is what is said of them."""
FULL_ORDERS, QUICK_ORDERS = 5, 2
"""Random orders of pruning, and of parts for each input's Shapley values, each with its reverse."""
MEAN_TEXTS: Final = 50
BATCH: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """One model, loaded twice: by the service, and with parts that can be switched off."""

    laboratory: Laboratory = field(repr=False)
    ablated: Ablated = field(repr=False)
    texts: tuple[TextInput, ...] = field(repr=False)
    labels: tuple[int, ...] = field(repr=False)
    accuracy: float
    orders: int

    @classmethod
    def of(cls, family: Family, seed: int, context: Context) -> Opened:
        """Build or load the model of one seed."""
        assert family.data is not None
        data = context.data / family.data
        inputs = QUICK_INPUTS if context.quick else FULL_INPUTS
        built = member(family, seed=seed, inputs=inputs, data=data, cache=context.models)
        labels = {one.text: one.label for one in CORPORA[family.data](data).held_out}
        texts = tuple(text for text in built.texts if text.text in labels)
        return cls(
            laboratory=Laboratory(model=load_model(built.directory), policy=STANDARD, kinds=(MapKind.RAW_ATTENTION,)),
            ablated=Ablated.load(built.directory),
            texts=texts,
            labels=tuple(labels[text.text] for text in texts),
            accuracy=built.accuracy,
            orders=QUICK_ORDERS if context.quick else FULL_ORDERS,
        )

    def ids(self, number: int) -> list[int]:
        """Token ids of one text."""
        found: list[int] = self.laboratory.model.backend.encode(self.texts[number]).input_ids.tolist()
        return found

    @property
    def half(self) -> int:
        """Texts before it are those that choose."""
        return len(self.texts) // 2


def families(context: Context) -> tuple[Family, ...]:
    """Models that are taken apart: the one on agreement, and where there is time one on opinions."""
    if context.quick:
        return (agreement_family(quick=True),)
    own = {family.name: family for family in (*tuned.FAMILIES, agreement_family(quick=False))}
    return tuple(own[name] for name in context.wanted(("sst2-6", "agreement-6")))


def run(context: Context) -> Result:
    """Take each model apart, part by part of the work."""
    steps: dict[str, Callable[[Opened], Json]] = {"singles": singles, "pruning": pruning, "parts": parts}
    found: dict[str, Json] = {}
    for family in families(context):
        for seed in context.seeds:
            opened: list[Opened] = []

            def make(name: str, opened: list[Opened] = opened, family: Family = family, seed: int = seed) -> Json:
                if not opened:
                    opened.append(Opened.of(family, seed, context))
                return steps[name.rsplit(" ", 1)[1]](opened[0])

            label = f"{family.name}, seed {seed}"
            made = context.parts(f"heads, {label}", [f"{label}: {step}" for step in steps], make)
            found[label] = {step: made[f"{label}: {step}"] for step in steps}
    return result(found)


def singles(opened: Opened) -> Json:
    """Every head silenced by itself, by the product's check: changes of the margin and flips, for every input."""
    shape = opened.laboratory.model.backend.shape
    rows = []
    for text in opened.texts:
        bench = opened.laboratory.open(text)
        flips, witness = head_flips(bench, shape.layers, shape.heads)
        everything = [Row(edit=AttentionEdit.SILENCED, layers=None, heads=tuple(range(shape.heads)))]
        together = bench.run([*everything, Row(edit=AttentionEdit.UNIFORM)])
        changes = bench.subject.margins(bench.run(_singly(shape.layers, shape.heads))) - bench.subject.margin
        rows.append(
            {
                "margin": round(bench.subject.margin, 4),
                "changes": [round(float(change), 4) for change in changes],
                "flips": flips,
                "witness": witness,
                "all_heads": _of_row(bench.subject, together, 0),
                "uniform": _of_row(bench.subject, together, 1),
            }
        )
    return {"layers": shape.layers, "heads": shape.heads, "accuracy": opened.accuracy, "inputs": rows}


def head_flips(bench: Bench, layers: int, count: int) -> tuple[list[int], bool]:
    """Numbers of the heads that change the decision by themselves, and whether the check gave a witness."""
    asking = heads_check(bench.subject, layers, count, THOROUGH)
    results = bench.run(next(asking))
    try:
        asking.send(results)
    except StopIteration as finished:
        return np.flatnonzero(bench.subject.flips(results)).tolist(), finished.value.witness is not None
    message = "the check of heads asks once"
    raise RuntimeError(message)


def _singly(layers: int, count: int) -> list[Row]:
    """The rows of the check, whose results are there already."""
    return [
        Row(edit=AttentionEdit.SILENCED, layers=(layer,), heads=(head,))
        for layer in range(layers)
        for head in range(count)
    ]


def _of_row(subject: Subject, results: Sequence[Any], at: int) -> dict[str, Any]:
    one = results[at]
    return {
        "flip": bool(subject.flips([one])[0]),
        "margin": round(float(subject.margins([one])[0]), 4),
        "tvd": round(subject.tvd(one), 4),
    }


def pruning(opened: Opened) -> Json:
    """Heads taken away one after the other on the second half of the texts, in orders that the first half chose.

    `kept`: share of the decisions that stay; `accuracy`; with 0 to L * H heads gone. `one_head`: with all heads of one
    layer gone but its best.
    """
    layers, count = opened.ablated.layers, opened.ablated.heads
    places = [(layer, head) for layer in range(layers) for head in range(count)]
    importance = np.zeros(len(places))
    for number in range(opened.half):
        bench = opened.laboratory.open(opened.texts[number])
        importance += np.abs(bench.subject.margins(bench.run(_singly(layers, count))) - bench.subject.margin)
    ordered = [places[i] for i in np.argsort(importance, kind="stable")]
    chance = np.random.default_rng(0)
    random_orders = [[places[i] for i in chance.permutation(len(places))] for _ in range(opened.orders)]
    texts = list(range(opened.half, len(opened.texts)))
    best = {
        layer: max((place for place in places if place[0] == layer), key=lambda place: importance[places.index(place)])
        for layer in range(layers)
    }
    alone = [[place for place in places if place[0] == layer and place != best[layer]] for layer in range(layers)]
    return {
        "importance": [round(float(each / opened.half), 5) for each in importance],
        "least_first": _curve(opened, texts, ordered),
        "most_first": _curve(opened, texts, ordered[::-1]),
        "random": [_curve(opened, texts, order) for order in random_orders],
        "one_head": _judged(opened, texts, alone),
        "longest": _longest(opened, texts, ordered),
    }


def _curve(opened: Opened, texts: Sequence[int], order: Sequence[tuple[int, int]]) -> Json:
    return _judged(opened, texts, [order[:gone] for gone in range(len(order) + 1)])


def _judged(opened: Opened, texts: Sequence[int], sets: Sequence[Sequence[tuple[int, int]]]) -> Json:
    """For each set of heads that is gone, decisions kept and accuracy."""
    base = _logits_of_sets(opened, texts, [[]])[0].argmax(axis=-1)
    said = _logits_of_sets(opened, texts, sets).argmax(axis=-1)
    labels = np.array([opened.labels[number] for number in texts])
    return {
        "kept": [round(float(each), 4) for each in (said == base).mean(axis=1)],
        "accuracy": [round(float(each), 4) for each in (said == labels).mean(axis=1)],
    }


def _longest(opened: Opened, texts: Sequence[int], order: Sequence[tuple[int, int]]) -> list[int]:
    """For each text how many heads, the least important first, can go before its decision first changes."""
    said = _logits_of_sets(opened, texts, [order[:gone] for gone in range(len(order) + 1)]).argmax(axis=-1)
    changed = said != said[:1]
    return [int(column.argmax()) - 1 if column.any() else len(order) for column in changed.T]


def _logits_of_sets(opened: Opened, texts: Sequence[int], sets: Sequence[Sequence[tuple[int, int]]]) -> Any:  # noqa: ANN401 - an array [sets, texts, C]
    """Logits of texts with each of some sets of heads gone."""
    ablated = opened.ablated
    rows = [(gone, number) for gone in sets for number in texts]
    ids = {number: opened.ids(number) for number in texts}
    found = []
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        switches = Switches.all_on(len(part), ablated.layers, ablated.heads)
        for at, (gone, _) in enumerate(part):
            for layer, head in gone:
                switches.heads[at, layer, head] = 0
        found.append(ablated.logits([ids[number] for _, number in part], switches))
    return torch.cat(found).double().numpy().reshape(len(sets), len(texts), -1)


def parts(opened: Opened) -> Json:
    """Every part of every layer and of all layers switched off, to nothing and to its mean; and the Shapley values.

    The players are the heads of a layer together and its feed-forward part, `2 L` of them; what they share out is the
    margin, from what the residual alone makes of the classification token, which has read nothing.
    """
    ablated = opened.ablated
    means = ablated.means([opened.ids(number) for number in range(min(MEAN_TEXTS, opened.half))])
    texts = range(opened.half, len(opened.texts))
    generator = torch.Generator().manual_seed(0)
    found = []
    for number in texts:
        ids = opened.ids(number)
        base = _oriented(ablated.logits([ids], Switches.all_on(1, ablated.layers, ablated.heads)))
        row: dict[str, Any] = {"margin": round(float(base.margins[0]), 4)}
        for off, filler in (("nothing", None), ("mean", means)):
            switches = _one_part_off(ablated.layers, ablated.heads)
            margins = base.of(ablated.logits([ids] * len(switches.heads), switches, filler))
            row[off] = [round(float(margin), 4) for margin in margins]
        row["shapley"] = _shares(ablated, ids, base, orders=opened.orders, generator=generator)
        found.append(row)
    return {"names": [f"{part.value}" for part in Part], "layers": ablated.layers, "inputs": found}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Oriented:
    """Margins for what was decided: the first row's is positive."""

    sign: float
    margins: Any

    def of(self, logits: torch.Tensor) -> torch.Tensor:
        """Margins [B] for the decision of the untouched input."""
        return self.sign * (logits[:, 1] - logits[:, 0]).double()


def _oriented(logits: torch.Tensor) -> _Oriented:
    margin = (logits[:, 1] - logits[:, 0]).double()
    sign = 1.0 if float(margin[0]) > 0 else -1.0
    return _Oriented(sign=sign, margins=sign * margin)


def _one_part_off(layers: int, heads: int) -> Switches:
    """A row for each part of each layer, and then one for each part of all layers: [4 (L + 1)] rows."""
    switches = Switches.all_on(len(Part) * (layers + 1), layers, heads)
    for number, part in enumerate(Part):
        tensor = switches.heads if part is Part.HEADS else switches.others[part]
        for layer in range(layers):
            tensor[number * (layers + 1) + layer, layer] = 0
        tensor[number * (layers + 1) + layers] = 0
    return switches


def _shares(
    ablated: Ablated, ids: list[int], base: _Oriented, *, orders: int, generator: torch.Generator
) -> dict[str, Any]:
    layers = ablated.layers

    def value(coalitions: torch.Tensor) -> torch.Tensor:
        switches = Switches.all_on(len(coalitions), layers, ablated.heads)
        switches.heads[:] = coalitions[:, :layers, None]
        switches.others[Part.FEED_FORWARD][:] = coalitions[:, layers:]
        return base.of(ablated.logits([ids] * len(coalitions), switches))

    values = shapley(value, 2 * layers, orders=orders, generator=generator)
    nobody = float(value(torch.zeros(1, 2 * layers))[0])
    return {"nobody": round(nobody, 4), "values": [round(float(each), 4) for each in values]}


STUDY: Final = Study(
    name="heads",
    title="Heads, and attention's share of a decision",
    paper="After Michel et al. 2019, Are Sixteen Heads Really Better than One? (arXiv 1905.10650), and Interpreting "
    "Transformers Through Attention Head Intervention (arXiv 2601.04398), a review",
    question="Which heads does a decision hang on, how many can go, and how much of it is attention's at all?",
    data=("agreement", "sst2"),
    quick_seeds=1,
    full_seeds=1,
    run=run,
)
