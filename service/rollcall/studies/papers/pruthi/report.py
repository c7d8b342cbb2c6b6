"""What was found of deceptive twins, put beside what was published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rollcall.domain.maps import MapKind
from rollcall.domain.verdicts import CheckKind, Flag
from rollcall.studies.markdown import table
from rollcall.studies.papers.frame import Claim, Comparison, Json, Picture, Result, Section
from rollcall.studies.papers.intervals import Auroc, auroc_of
from rollcall.studies.papers.pruthi.twins import HIDDEN_FROM, HONEST, LAST, SST_WIKI

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Found: TypeAlias = Mapping[str, Mapping[str, Mapping[int, Json]]]
"""By task, twin and seed: accuracy, facts, and what every check said of every map of every input."""

ALIGNMENT: Final = "alignment alignment"
SWAPS: Final = (
    "rewiring_scopes same_answer_lower_bound_last_readout_row",
    "rewiring_scopes same_answer_lower_bound_readout_rows",
    "rewiring_scopes same_answer_lower_bound_all_rows",
)
WITNESSED: Final = (CheckKind.OMISSION, CheckKind.CONTRADICTION, CheckKind.SUPPORT)
LOST: Final = 0.02
"""Accuracy that a twin may lose and still be called as accurate; the paper's transformers lose at most .002."""
MASS_FACTS: Final = {
    MapKind.RAW_ATTENTION: "attention_on_decisive_words",
    MapKind.ATTENTION_ROLLOUT: "rollout_on_decisive_words",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """The map that a twin was trained to mislead, on the honest and on the deceptive twin: the same inputs.

    `scores`: by check, its values on both, and how well they tell the twins apart; 0.5 is not at all.
    """

    task: str
    twin: str
    kind: MapKind
    honest: Sequence[Mapping[str, Any]] = field(repr=False)
    deceptive: Sequence[Mapping[str, Any]] = field(repr=False)
    scores: Mapping[str, Auroc]

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.task}, {self.twin}"

    def called(self, flag: Flag, *, honest: bool) -> float:
        """Share of the inputs whose map got this flag."""
        maps = self.honest if honest else self.deceptive
        return sum(bool(one["flag"] == flag.value) for one in maps) / len(maps)

    def swap(self) -> float:
        """How well the best of the swaps of attention tells the twins apart: "unchanged" counts against the map.

        0.5 where all swaps say the same of both.
        """
        return max((1.0 - self.scores[name].value for name in SWAPS if name in self.scores), default=0.5)


def result(found: Found) -> Result:
    """The report of all tasks, twins and seeds."""
    contrasts = [
        _contrast(task, twin, by_twin[HONEST], by_twin[twin]) for task, by_twin in found.items() for twin in HIDDEN_FROM
    ]
    return Result(
        summary=_summary(contrasts),
        comparisons=_comparisons(found),
        claims=_claims(found, contrasts),
        findings={
            "models": {
                f"{task}, {twin}, seed {seed}": {"accuracy": one["accuracy"], **one["facts"]}
                for task, by_twin in found.items()
                for twin, by_seed in by_twin.items()
                for seed, one in by_seed.items()
            },
            "flags": _flags(found),
            "checks": {one.name: {name: score.to_json() for name, score in one.scores.items()} for one in contrasts},
        },
        sections=(_models_section(found), _flags_section(found), *(_checks_section(one) for one in contrasts)),
        pictures=(
            Picture(
                name="who-notices",
                caption="How well each check tells the honest from the deceptive twin by the map that deceives: "
                "AUROC with 95 % intervals, 0.5 is chance",
                draw=partial(_draw, contrasts),
                inches=(8.0, 7.0),
            ),
        ),
    )


def _contrast(task: str, twin: str, honest: Mapping[int, Json], deceptive: Mapping[int, Json]) -> Contrast:
    kind = HIDDEN_FROM[twin]
    pairs = [
        (one[kind.value], other[kind.value], f"{seed}/{number}")
        for seed, found in honest.items()
        for number, (one, other) in enumerate(zip(found["inputs"], deceptive[seed]["inputs"], strict=True))
    ]
    own, theirs = [one for one, _, _ in pairs], [other for _, other, _ in pairs]
    names = list(dict.fromkeys(name for one in (*own, *theirs) for name in one["checks"]))
    values = {name: ([_value(one, name) for one in own], [_value(one, name) for one in theirs]) for name in names}
    for witness in WITNESSED:
        values[f"{witness.value} witness"] = (
            [float(witness.value in one["witnesses"]) for one in own],
            [float(witness.value in one["witnesses"]) for one in theirs],
        )
    scores = {name: auroc_of(*both) for name, both in values.items()}
    return Contrast(
        task=task,
        twin=twin,
        kind=kind,
        honest=own,
        deceptive=theirs,
        scores={name: score for name, score in scores.items() if score is not None},
    )


def _value(found: Mapping[str, Any], name: str) -> float | None:
    value: float | None = found["checks"].get(name, {}).get("value")
    return value


def _comparisons(found: Found) -> tuple[Comparison, ...]:
    setting = "SST and Wikipedia, BERT of {layers} layers trained here"
    differs = (
        "two layers trained from nothing instead of BERT-base fine-tuned; the map served (mean over heads, words "
        "alone) is misled, and nothing is cut between the two sentences"
    )
    honest, last = found[SST_WIKI][HONEST], found[SST_WIKI][LAST]
    where = setting.format(layers=2)
    return (
        Comparison(
            quantity="accuracy, honest",
            published="0.908 (0.918 in the ReScience rerun)",
            ours=_each(honest, lambda one: one["accuracy"]),
            setting=where,
            differs=differs,
        ),
        Comparison(
            quantity="accuracy, deceptive (weight 1)",
            published="0.906 (0.919)",
            ours=_each(last, lambda one: one["accuracy"]),
            setting=where,
            differs=differs,
        ),
        Comparison(
            quantity="attention on the words that decide, honest",
            published="0.590 (0.174)",
            ours=_each(honest, lambda one: one["facts"]["attention_on_decisive_words"]),
            setting=where,
            differs=f"{differs}; the two published runs are as far apart from each other as from ours",
        ),
        Comparison(
            quantity="attention on the words that decide, deceptive",
            published="< 0.00001 (0.00005)",
            ours=_each(last, lambda one: one["facts"]["attention_on_decisive_words"]),
            setting=where,
            differs=differs,
        ),
        Comparison(
            quantity="accuracy with these words removed",
            published="0.504 (0.502)",
            ours=_each(last, lambda one: one["facts"]["accuracy_without_decisive_words"]),
            setting=where,
            differs="theirs is trained without them, ours is the deceptive model itself with them masked",
        ),
    )


def _each(by_seed: Mapping[int, Json], value: Any) -> str:  # noqa: ANN401 - a function of JSON
    return ", ".join(f"{value(one):.3f}" for one in by_seed.values())


def _claims(found: Found, contrasts: Sequence[Contrast]) -> tuple[Claim, ...]:
    made = []
    for one in contrasts:
        deceptive, honest = found[one.task][one.twin], found[one.task][HONEST]
        lost = [each["facts"]["accuracy_of_honest_twin"] - each["accuracy"] for each in deceptive.values()]
        fact = MASS_FACTS[one.kind]
        masses = [(honest[seed]["facts"][fact], each["facts"][fact]) for seed, each in deceptive.items()]
        left = [each["facts"]["accuracy_without_decisive_words"] for each in deceptive.values()]
        made += [
            Claim(
                claim=f"{one.name}: accuracy stays, within {LOST:.2f}",
                holds=max(lost) <= LOST,
                seen=", ".join(f"{each:+.3f} lost" for each in lost),
            ),
            Claim(
                claim=f"{one.name}: the map's weight on what decides falls to less than half",
                holds=all(after < before / 2 for before, after in masses),
                seen=", ".join(f"{before:.3f} to {after:.3f}" for before, after in masses),
            ),
            Claim(
                claim=f"{one.name}: the model still needs it: masked, accuracy falls to that of guessing, 0.4 to 0.6",
                holds=all(0.4 <= each <= 0.6 for each in left),  # noqa: PLR2004 - said in words beside it
                seen=", ".join(f"{each:.3f}" for each in left),
            ),
            Claim(
                claim=f"{one.name}: alignment with the effects of removals tells the twins apart",
                holds=one.scores[ALIGNMENT].low > 0.5,  # noqa: PLR2004 - chance
                seen=f"AUROC {one.scores[ALIGNMENT]}",
            ),
            Claim(
                claim=f"{one.name}: it does so better than swapping attention, at any scope (Jain and Wallace 2019)",
                holds=one.scores[ALIGNMENT].value > one.swap(),
                seen=f"{one.scores[ALIGNMENT].value:.2f} against {one.swap():.2f}",
            ),
        ]
    return tuple(made)


def _summary(contrasts: Sequence[Contrast]) -> str:
    alignment = ", ".join(f"{one.scores[ALIGNMENT].value:.2f}" for one in contrasts)
    swaps = ", ".join(f"{one.swap():.2f}" for one in contrasts)
    trusted = ", ".join(
        f"{100 * one.called(Flag.FAITHFUL, honest=True):.0f} and {100 * one.called(Flag.FAITHFUL, honest=False):.0f} %"
        for one in contrasts
    )
    caught = ", ".join(f"{100 * one.called(Flag.UNFAITHFUL, honest=False):.0f} %" for one in contrasts)
    names = "; ".join(one.name for one in contrasts)
    return (
        "Deceptive training works as published: accuracy stays, the map turns away from the words that decide, and "
        "the model goes on needing them. So attention can be a picture that was drawn to be looked at.\n\n"
        f"Every check was asked about the same inputs of both twins, by the map that deceives ({names}). "
        f"Alignment with the effects of removals tells the twins apart with an AUROC of {alignment}; the best of the "
        f"swaps of attention with {swaps}. Honest and deceptive map are called FAITHFUL on {trusted} of the inputs, "
        f"the deceptive one UNFAITHFUL on {caught}.\n\n"
        "What follows for Rollcall: a flag comes from what removals do to the decision, never from how a map looks or "
        "from whether attention could have been another; and each map has a flag of its own, since what one map was "
        "taught to hide another may show."
    )


def _models_section(found: Found) -> Section:
    rows = [
        (
            task,
            twin,
            str(seed),
            f"{one['accuracy']:.3f}",
            *(f"{one['facts'][fact]:.3f}" for fact in (*MASS_FACTS.values(), "accuracy_without_decisive_words")),
        )
        for task, by_twin in found.items()
        for twin, by_seed in by_twin.items()
        for seed, one in by_seed.items()
    ]
    heads = ("task", "twin", "seed", "accuracy", "last layer on what decides", "rollout on it", "accuracy without it")
    return Section(title="The twins", body=table(heads, rows))


def _flags(found: Found) -> dict[str, dict[str, dict[str, int]]]:
    """By task and twin, and by map: how often each flag was given."""
    counted: dict[str, dict[str, dict[str, int]]] = {}
    for task, by_twin in found.items():
        for twin, by_seed in by_twin.items():
            maps = counted.setdefault(f"{task}, {twin}", {})
            for one in (each for seed in by_seed.values() for each in seed["inputs"]):
                for kind, said in one.items():
                    flags = maps.setdefault(kind, {flag.value: 0 for flag in Flag if flag is not Flag.NOT_CHECKED})
                    flags[said["flag"]] += 1
    return counted


def _flags_section(found: Found) -> Section:
    rows = [
        (name, kind, *(f"{100 * count / sum(flags.values()):.0f} %" for count in flags.values()))
        for name, maps in _flags(found).items()
        for kind, flags in maps.items()
    ]
    return Section(
        title="What the service would have said",
        body="Flags of every map under the standard policy, default widths.\n\n"
        + table(("task and twin", "map", "FAITHFUL", "UNFAITHFUL", "INCONCLUSIVE"), rows),
    )


def _checks_section(one: Contrast) -> Section:
    rows = [
        (name, f"{score.first:.3f}", f"{score.second:.3f}", str(score), f"{score.pairs}")
        for name, score in one.scores.items()
    ]
    return Section(
        title=f"Every check: {one.name}",
        body=f"By `{one.kind.value}`, the map that deceives. AUROC: how probably the honest twin's value is the larger "
        "one; 0.5 says nothing, far below it the deceptive twin's is. Inputs are paired.\n\n"
        + table(("check", "honest, mean", "deceptive, mean", "AUROC", "inputs"), rows),
    )


def _draw(contrasts: Sequence[Contrast], figure: Figure) -> None:
    axes = figure.subplots()
    names = list(dict.fromkeys(name for one in contrasts for name in one.scores))
    for number, one in enumerate(contrasts):
        places = [names.index(name) + 0.15 * (number - (len(contrasts) - 1) / 2) for name in one.scores]
        scores = list(one.scores.values())
        axes.errorbar(
            [score.value for score in scores],
            places,
            xerr=(
                [max(0.0, score.value - score.low) for score in scores],
                [max(0.0, score.high - score.value) for score in scores],
            ),
            fmt="o",
            markersize=3,
            linewidth=0.8,
            label=one.name,
        )
    axes.axvline(0.5, color="black", linewidth=0.6)
    axes.set(xlim=(-0.02, 1.02), xlabel="AUROC, honest against deceptive", yticks=range(len(names)))
    axes.set_yticklabels(names, fontsize=7)
    axes.invert_yaxis()
    axes.legend(loc="lower center", bbox_to_anchor=(0.3, 1), ncols=2, fontsize=8)
