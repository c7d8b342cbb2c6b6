"""What was found of deceptive twins, put beside what was published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from rollcall.domain.maps import MapKind
from rollcall.domain.verdicts import Flag
from rollcall.studies.markdown import table
from rollcall.studies.papers.frame import Claim, Comparison, Json, Picture, Result, Section
from rollcall.studies.papers.pruthi.contrast import ALIGNMENT, OMISSION, Contrast, Found, contrast_of
from rollcall.studies.papers.pruthi.plots import draw
from rollcall.studies.papers.pruthi.twins import HIDDEN_FROM, HONEST, LAST, SST_WIKI, TRIGGER

MOST: Final = 3
"""Checks that are named as noticing most."""
LOST: Final = 0.04
"""Accuracy that a twin may lose and still be called as accurate: two standard errors of a difference on 1,000 texts."""
MASS_FACTS: Final = {
    MapKind.RAW_ATTENTION: "attention_on_decisive_words",
    MapKind.ATTENTION_ROLLOUT: "rollout_on_decisive_words",
}


def result(found: Found) -> Result:
    """The report of all tasks, twins and seeds."""
    contrasts = [
        contrast_of(task, twin, by_twin[HONEST], by_twin[twin])
        for task, by_twin in found.items()
        for twin in HIDDEN_FROM
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
                draw=partial(draw, contrasts),
                inches=(8.0, 7.0),
            ),
        ),
    )


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
                clear=one.task == TRIGGER,
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
                claim=f"{one.name}: the deceptive map is called FAITHFUL on fewer inputs than the honest one",
                holds=one.called(Flag.FAITHFUL, honest=False) < one.called(Flag.FAITHFUL, honest=True),
                seen=f"{100 * one.called(Flag.FAITHFUL, honest=False):.0f} % against "
                f"{100 * one.called(Flag.FAITHFUL, honest=True):.0f} %",
                clear=one.task == TRIGGER,
            ),
        ]
    return tuple(made)


def _summary(contrasts: Sequence[Contrast]) -> str:
    return (
        "Deceptive training works as published: accuracy stays, the map turns away from the words that decide, and "
        "the model goes on needing them. So attention can be a picture that was drawn to be looked at.\n\n"
        "Every check of the product was asked about the same inputs of both twins, by the map that deceives:\n\n"
        + "\n".join(f"- {_told(one)}" for one in contrasts)
        + "\n\nA map of an honest model may be wrong, too: what tells a wrong map from a right one need not tell a "
        "deceptive model from an honest one.\n\n"
        "What follows for Rollcall: a flag comes from what removals do to the decision, never from how a map looks or "
        "from whether attention could have been another; words that a map calls negligible are removed together, "
        "since that is where a deceptive map hides what it reads; and each map has a flag of its own."
    )


def _told(one: Contrast) -> str:
    trusted, deceived = (100 * one.called(Flag.FAITHFUL, honest=honest) for honest in (True, False))
    noticing = sorted(one.scores, key=lambda name: -one.scores[name].apart)[:MOST]
    best = ", ".join(f"`{name}` {one.scores[name].apart:.2f}" for name in noticing)
    omission = one.scores.get(OMISSION)
    witnessed = "never" if omission is None else f"{100 * omission.second:.0f} % ({100 * omission.first:.0f} % honest)"
    return (
        f"**{one.name}**: the honest map is called FAITHFUL on {trusted:.0f} % of the inputs, the deceptive one on "
        f"{deceived:.0f} %; UNFAITHFUL on {100 * one.called(Flag.UNFAITHFUL, honest=True):.0f} % and "
        f"{100 * one.called(Flag.UNFAITHFUL, honest=False):.0f} %. Alignment tells "
        f"the twins apart with an AUROC of {one.scores[ALIGNMENT]}, the best swap of attention with {one.swap():.2f}. "
        f"A witness of omission is found on {witnessed}. What notices most, either way round: {best}."
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
