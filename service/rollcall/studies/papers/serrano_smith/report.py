"""From the cases of all models to the report: single erasures, sets, and what the paper claims of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rollcall.studies.markdown import table
from rollcall.studies.papers.frame import Claim, Comparison, Picture, Result, Section
from rollcall.studies.papers.intervals import Mean, mean_of
from rollcall.studies.papers.pictures import PALETTE
from rollcall.studies.papers.serrano_smith.measure import ATTENTION, DELETED, ORDERS, PRODUCT, RANDOM
from rollcall.studies.papers.shares import share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TASKS: Final = {"sst2": "SST-2", "ag_news": "AG News", "imdb": "IMDb"}
USUALLY: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One model's cases, or those of all models of a kind."""

    task: str
    kind: str
    accuracy: float
    cases: list[dict[str, Any]] = field(repr=False)

    @property
    def title(self) -> str:
        """For tables."""
        return f"{TASKS[self.task]}, {self.kind}"

    def fractions(self, order: str) -> Mean:
        """Share of the units erased until the decision changes."""
        return self._mean([case["fractions"][order] for case in self.cases])

    def flips(self, which: str) -> list[bool]:
        """Whether the erasure of "top" or "other" changes the decision."""
        return [case[which]["flips"] for case in self.cases]

    def faster(self, order: str, other: str) -> Mean:
        """How many more shares of the units `other` needs on the same inputs."""
        return self._mean([case["fractions"][other] - case["fractions"][order] for case in self.cases])

    def further(self) -> Mean:
        """How much further the top unit moves the answer than a random one, in nats."""
        return self._mean([case["top"]["js"] - case["other"]["js"] for case in self.cases])

    def _mean(self, values: Sequence[float]) -> Mean:
        return mean_of(values, [case["input"] for case in self.cases])


def report(models: Sequence[Found]) -> Result:
    """The whole report."""
    keys = dict.fromkeys((model.task, model.kind) for model in models)
    groups = []
    for task, kind in keys:
        some = [model for model in models if (model.task, model.kind) == (task, kind)]
        groups.append(
            Found(
                task=task,
                kind=kind,
                accuracy=float(np.mean([model.accuracy for model in some])),
                cases=[case for model in some for case in model.cases],
            )
        )
    return Result(
        summary=_summary(groups),
        comparisons=(*(row for group in groups for row in _comparisons(group)), *_encoders(groups)),
        claims=_claims(groups),
        findings={f"{group.task} {group.kind}": {"accuracy": group.accuracy, "cases": group.cases} for group in groups},
        sections=(Section(title="One unit", body=_singles(groups)), Section(title="Sets", body=_sets(groups))),
        pictures=(
            Picture(
                name="fractions",
                caption="Share of units erased until the decision changes, by order, task and model",
                draw=partial(_draw, groups),
                inches=(8.0, 0.6 * len(groups) + 1.5),
            ),
        ),
    )


def _comparisons(group: Found) -> list[Comparison]:
    recurrent = group.kind != "transformer"
    differs = (
        "Other data (theirs: Yahoo, IMDb, Amazon, Yelp; hierarchical networks over sentences), words as items."
        if recurrent
        else "No transformer in the paper: erased in the last layer alone, whose residual goes around it."
    )

    def row(quantity: str, published: str, ours: str) -> Comparison:
        setting = f"{group.title}, accuracy {group.accuracy:.3f}, {len(group.cases)} inputs"
        return Comparison(
            quantity=quantity,
            published=published if recurrent else "-",
            ours=ours,
            setting=setting,
            differs=differs,
        )

    fractions = ", ".join(f"{order} {group.fractions(order).value:.2f}" for order in ORDERS)
    return [
        row(
            "decision changes when the top unit is erased",
            "about 8 to 15 % (quoted from memory, not checked)",
            f"{share(group.flips('top'))}, a random unit {share(group.flips('other'))}",
        ),
        row("top unit moves the answer more than a random one", "mostly (figure 4)", _more(group)),
        row(
            "mean share of units erased until the decision changes",
            "gradient x attention least, random most",
            fractions,
        ),
    ]


def _encoders(groups: Sequence[Found]) -> list[Comparison]:
    """With and without an encoder, where a task has both."""
    by_title = {group.title: group for group in groups}
    rows = []
    for title in TASKS.values():
        lstm, bare = by_title.get(f"{title}, BiLSTM"), by_title.get(f"{title}, no encoder")
        if lstm is not None and bare is not None:
            own, other = lstm.fractions(ATTENTION), bare.fractions(ATTENTION)
            same = other.value > own.value
            rows.append(
                Comparison(
                    quantity="erased in the order of attention: no encoder against BiLSTM",
                    published="without an encoder more",
                    ours=f"{other.value:.2f} against {own.value:.2f}",
                    setting=title,
                    differs="As there."
                    if same
                    else "The other way round: a state of our BiLSTM knows the whole short text, so that hardly any "
                    "erasure of weights takes away what decides; their items are sentences of long documents.",
                )
            )
    return rows


def _more(group: Found) -> str:
    further = [case["top"]["js"] > case["other"]["js"] for case in group.cases]
    return f"{share(further)} of inputs, by {group.further().value:.3f} nats"


def _claims(groups: Sequence[Found]) -> tuple[Claim, ...]:
    claims = []
    for group in groups:
        flips, others = np.mean(group.flips("top")), np.mean(group.flips("other"))
        product, attention = group.faster(PRODUCT, ATTENTION), group.faster(ATTENTION, RANDOM)
        further = group.further()
        claims += [
            Claim(
                claim=f"{group.title}: erasing the top unit usually does not change the decision",
                holds=bool(flips < USUALLY),
                seen=f"changes {100 * flips:.0f} %",
            ),
            Claim(
                claim=f"{group.title}: the top unit moves the answer more than a random one",
                holds=further.value > 0,
                seen=f"{further.value:.4f} nats [{further.low:.4f}, {further.high:.4f}]; changes {100 * flips:.0f} % "
                f"against {100 * others:.0f} %",
            ),
            Claim(
                claim=f"{group.title}: the order of attention is faster than random",
                holds=attention.value > 0,
                seen=f"by {attention.value:.3f} [{attention.low:.3f}, {attention.high:.3f}]",
            ),
            Claim(
                claim=f"{group.title}: gradient x attention is at least as fast as attention",
                holds=product.value >= 0,
                seen=f"by {product.value:.3f} [{product.low:.3f}, {product.high:.3f}]",
            ),
        ]
    return tuple(claims)


def _singles(groups: Sequence[Found]) -> str:
    heads = ("task, model", "both change it", "top alone", "random alone", "neither", "mean largest weight")
    rows = []
    for group in groups:
        pairs = list(zip(group.flips("top"), group.flips("other"), strict=True))
        rows.append(
            (
                group.title,
                *(share([pair == wanted for pair in pairs]) for wanted in _OUTCOMES),
                f"{np.mean([case['largest'] for case in group.cases]):.2f}",
            )
        )
    return "Does the decision change when the unit with the largest weight, or another one, is erased?\n\n" + table(
        heads, rows
    )


_OUTCOMES: Final = ((True, True), (True, False), (False, True), (False, False))


def _sets(groups: Sequence[Found]) -> str:
    names = (*ORDERS, *DELETED)
    rows = [(group.title, *(_interval(group.fractions(name)) for name in names)) for group in groups]
    return (
        "Mean share of the units that have to be erased in this order until the decision changes (1 where it never "
        "does), with its 95 % interval. In the last two columns words are taken out of the text instead.\n\n"
        + table(("task, model", *names), rows)
    )


def _interval(mean: Mean) -> str:
    return f"{mean.value:.2f} [{mean.low:.2f}, {mean.high:.2f}]"


def _summary(groups: Sequence[Found]) -> str:
    sst = next(group for group in groups if group.title == "SST-2, BiLSTM")
    return (
        f"On SST-2 erasing the word with the largest weight from the attention of a BiLSTM changes the decision for "
        f"{share(sst.flips('top'))} of the inputs (a random word: {share(sst.flips('other'))}). "
        f"Erased in the order of attention, {sst.fractions(ATTENTION).value:.2f} of the words have to go until it "
        f"changes; in the order of gradient x attention {sst.fractions(PRODUCT).value:.2f}; in random order "
        f"{sst.fractions(RANDOM).value:.2f}.\n\n"
        "Weights are not meaningless, and not a ranking either: another order, made of the gradient by the weights, "
        "finds what the decision hangs on sooner. Single erasures have little power, because a text says things more "
        "than once; sets, held against random sets, do. Rollcall therefore judges a map by removals of many units at "
        "once against the same units in other orders, never by its top word alone, and searches the smallest set that "
        "changes the decision by estimated effects rather than by weights."
    )


def _draw(groups: Sequence[Found], figure: Figure) -> None:
    axes = figure.subplots()
    height = 0.8 / len(ORDERS)
    for shift, (order, colour) in enumerate(zip(ORDERS, PALETTE, strict=False)):
        means = [group.fractions(order) for group in groups]
        axes.barh(
            [at + height * (shift - 1.5) for at in range(len(groups))],
            [mean.value for mean in means],
            height=height,
            color=colour,
            label=order,
            xerr=[[mean.value - mean.low for mean in means], [mean.high - mean.value for mean in means]],
        )
    axes.set_yticks(range(len(groups)), [group.title for group in groups])
    axes.set(xlabel="share of units erased until the decision changes", xlim=(0, 1))
    axes.invert_yaxis()
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4)
