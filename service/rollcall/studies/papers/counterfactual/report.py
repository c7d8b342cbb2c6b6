"""What was found of flip sets, people's edits and the steadiness of maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

from rollcall.studies.markdown import table
from rollcall.studies.papers.counterfactual.plots import draw_hits, draw_steady
from rollcall.studies.papers.counterfactual.summed import CONTROL, EFFECT, RAW, TOP, Hit, Summed, summed
from rollcall.studies.papers.frame import Claim, Comparison, Json, Picture, Result, Section
from rollcall.studies.papers.intervals import Mean


def result(found: Mapping[int, Json]) -> Result:
    """The report of all seeds; a pair under several seeds is one observation."""
    one = summed(found)
    accuracies = [seed["accuracy"] for seed in found.values()]
    return Result(
        summary=_summary(one),
        comparisons=_comparisons(one, accuracies),
        claims=_claims(one),
        findings=_findings(one, accuracies),
        sections=(_hits_section(one), _ranks_section(one), _steady_section(one)),
        pictures=(
            Picture(
                name="edited-words",
                caption="Precision for the words that people edited, of the flip set and of each map's first words, as "
                "many as the flip set has; 95 % intervals, chance dotted",
                draw=partial(draw_hits, one),
            ),
            Picture(
                name="steadiness",
                caption="Spearman correlation of maps of the same text, of models of different seeds and of one model "
                "under dropout",
                draw=partial(draw_steady, one),
            ),
        ),
    )


def _findings(one: Summed, accuracies: Sequence[float]) -> dict[str, Any]:
    def hit(found: Hit) -> dict[str, Any]:
        return {
            "precision": found.precision.to_json(),
            "recall": found.recall.to_json(),
            "precision_above_chance": found.above_chance.to_json(),
            **({} if found.below_flip is None else {"flip_set_above_it": found.below_flip.to_json()}),
        }

    return {
        "accuracy": list(accuracies),
        "pairs": one.pairs,
        "pairs_that_the_edit_turns": one.turned.to_json(),
        "texts": len(one.texts),
        "flip_set_found": one.found.to_json(),
        "units": median(text["units"] for text in one.texts),
        "edited_units": median(text["edited"] for text in one.texts),
        "flip_units": median(text["flip"][0] for text in one.texts if text["flip"] is not None),
        "chance": one.chance.to_json(),
        "flip_set": hit(one.flip),
        "maps": {name: hit(found) for name, found in one.maps.items()},
        "r_precision": {name: mean.to_json() for name, mean in one.as_edited.items()},
        "auroc": {name: mean.to_json() for name, mean in one.aurocs.items()},
        "flips_without": {"edited": one.edited_flips.to_json(), "random": one.random_flips.to_json()},
        "across_seeds": {name: steady.to_json() for name, steady in one.seeds.items()},
        "under_dropout": {name: steady.to_json() for name, steady in one.dropout.items()},
        "predictions_apart": {
            "seeds": None if one.seed_predictions is None else one.seed_predictions.to_json(),
            "dropout": one.dropout_predictions.to_json(),
        },
    }


def _comparisons(one: Summed, accuracies: Sequence[float]) -> tuple[Comparison, ...]:
    setting = "IMDb pairs, BERT of two layers trained here"
    return (
        Comparison(
            quantity="pairs whose decision people's edits turn round",
            published="all, by construction, for people",
            ours=f"{one.turned} (accuracy {', '.join(f'{each:.3f}' for each in accuracies)})",
            setting=setting,
            differs="a model that learned from originals and revisions alike; where it is wrong on either text the "
            "pair says nothing of its reasons and is left out below",
        ),
        Comparison(
            quantity="flip sets and maps against the edited words",
            published="no figure",
            ours=f"precision of the flip set {one.flip.precision}, of raw attention {one.maps[RAW].precision}, chance "
            f"{one.chance}",
            setting=setting,
            differs="neither paper holds explanations against the edits; the numbers stand by themselves",
        ),
        Comparison(
            quantity="counterfactual weights are steadier across reruns than attention (2401.05744)",
            published="claimed; the figures could not be had",
            ours="one seed alone"
            if not one.seeds
            else f"Spearman across seeds: effects {one.seeds[EFFECT].spearman}, "
            f"raw attention {one.seeds[RAW].spearman}",
            setting=setting,
            differs=f"{_steadier(one)}; words of a text instead of paths of a recommendation graph, and effects "
            "estimated from 16 removals, with the error that brings, instead of learned perturbations",
        ),
    )


def _steadier(one: Summed) -> str:
    if not one.seeds:
        return "one seed says nothing of it"
    holds = one.seeds[EFFECT].spearman.value > one.seeds[RAW].spearman.value
    return "so here, too" if holds else "**not so here**"


def _claims(one: Summed) -> tuple[Claim, ...]:
    flip, raw = one.flip, one.maps[RAW]
    assert raw.below_flip is not None
    return (
        Claim(
            claim="People's edits turn the model's decision round on most pairs",
            holds=one.turned.value > 0.5,  # noqa: PLR2004 - most
            seen=str(one.turned),
        ),
        Claim(
            claim="Removing what people edited changes the decision more often than removing as much at random",
            holds=one.edited_flips.value > one.random_flips.value,
            seen=f"{one.edited_flips} against {one.random_flips}",
        ),
        Claim(
            claim="The flip set holds more edited words than chance",
            holds=flip.above_chance.low > 0,
            seen=f"precision {flip.precision}, chance {one.chance}",
        ),
        Claim(
            claim="It holds more of them than as many first words of raw attention",
            holds=raw.below_flip.value > 0,
            seen=f"precision {flip.precision} against {raw.precision}; difference {raw.below_flip}",
            clear=False,
        ),
    )


def _summary(one: Summed) -> str:
    best = max((name for name in one.maps if name != CONTROL), key=lambda name: one.maps[name].precision.value)
    steady = max(one.seeds, key=lambda name: one.seeds[name].spearman.value) if one.seeds else None
    across = (
        ""
        if steady is None
        else f"Across seeds the steadiest map is `{steady}` (Spearman {one.seeds[steady].spearman}), raw attention has "
        f"{one.seeds[RAW].spearman}, though the predictions of these models are {one.seed_predictions} apart. "
    )
    return (
        f"On {100 * one.turned.value:.0f} % of the pairs the model follows people's edits. There, removing the edited "
        f"words changes the decision {100 * one.edited_flips.value:.0f} % of the time, removing as many at random "
        f"{100 * one.random_flips.value:.0f} %. The flip set, the smallest set found whose removal changes the "
        f"decision, consists of edited words by {one.flip.precision}, where chance gives {one.chance}; as many "
        f"first words of `{best}`, the best map, by {one.maps[best].precision}, of raw attention by "
        f"{one.maps[RAW].precision}.\n\n"
        f"{across}Under dropout of one and the same model raw attention has {one.dropout[RAW].spearman}.\n\n"
        "Agreement with people's edits is plausibility, not faithfulness: a model may have other reasons than people, "
        "and a map that shows them is right. The edits are evidence here because, and only where, making them turns "
        "the model round.\n\n"
        "What follows for Rollcall: an answer carries the flip set with the margins that prove it, beside the maps and "
        "not instead of them; and no map is believed because it looks like what a person would mark."
    )


def _hits_section(one: Summed) -> Section:
    rows = [("flip set", str(one.flip.precision), str(one.flip.recall), _signed(one.flip.above_chance), "")]
    rows += [
        (f"`{name}`", str(hit.precision), str(hit.recall), _signed(hit.above_chance), _signed(hit.below_flip))
        for name, hit in sorted(one.maps.items(), key=lambda each: -each[1].precision.value)
    ]
    heads = ("what is chosen", "precision", "recall", "precision above chance", "flip set above it")
    return Section(
        title="Edited words among those chosen",
        body=f"{len(one.texts)} texts of {one.pairs} pairs, where the model is right on both; flip sets are found for "
        f"{one.found}. Of each map as many first units as the flip set has. Intervals are over whole pairs.\n\n"
        + table(heads, rows),
    )


def _signed(mean: Mean | None) -> str:
    return "" if mean is None else f"{mean.value:+.2f} ({mean.low:+.2f} to {mean.high:+.2f})"


def _ranks_section(one: Summed) -> Section:
    rows = [
        (f"`{name}`", str(auroc), str(one.as_edited[name]))
        for name, auroc in sorted(one.aurocs.items(), key=lambda each: -each[1].value)
    ]
    return Section(
        title="Whole maps against the edits",
        body="AUROC: how probably an edited unit has the larger weight, 0.5 is chance. R-precision: edited units among "
        "as many first ones as were edited.\n\n" + table(("map", "AUROC", "R-precision"), rows),
    )


def _steady_section(one: Summed) -> Section:
    rows = [
        (what, f"`{name}`", str(steady.spearman), str(steady.apart), str(steady.overlap))
        for what, by_name in (("seeds", one.seeds), ("dropout", one.dropout))
        for name, steady in sorted(by_name.items(), key=lambda each: -each[1].spearman.value)
    ]
    predictions = f"under dropout {one.dropout_predictions}"
    if one.seed_predictions is not None:
        predictions = f"across seeds {one.seed_predictions}, {predictions}"
    return Section(
        title="How steady maps are",
        body="Maps of the same text by models that differ in their seed alone, and by one model in passes under "
        f"dropout. Shuffled maps would have a correlation of 0. Predictions are apart (TVD): {predictions}.\n\n"
        + table(("between", "map", "Spearman", "nats apart", f"overlap of the first {TOP}"), rows),
    )
