"""Plots of the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollcall.studies.papers.counterfactual.summed import Summed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_hits(one: Summed, figure: Figure) -> None:
    """Precision of what is chosen."""
    axes = figure.subplots()
    chosen = {"flip set": one.flip} | dict(sorted(one.maps.items(), key=lambda each: -each[1].precision.value))
    for place, hit in enumerate(chosen.values()):
        mean = hit.precision
        error = ([mean.value - mean.low], [mean.high - mean.value])
        axes.barh(place, mean.value, xerr=error, color="#d55e00" if place == 0 else "#0072b2")
    axes.axvline(one.chance.value, color="black", linestyle=":")
    axes.set(xlabel="share of the chosen units that people edited", yticks=range(len(chosen)))
    axes.set_yticklabels(list(chosen))
    axes.invert_yaxis()


def draw_steady(one: Summed, figure: Figure) -> None:
    """Spearman correlations between maps of the same text."""
    axes = figure.subplots()
    names = list(dict.fromkeys((*one.seeds, *one.dropout)))
    for offset, (label, by_name) in enumerate((("seeds", one.seeds), ("dropout", one.dropout))):
        places = [names.index(name) + 0.35 * offset for name in by_name]
        means = [steady.spearman for steady in by_name.values()]
        errors = ([mean.value - mean.low for mean in means], [mean.high - mean.value for mean in means])
        axes.barh(places, [mean.value for mean in means], height=0.35, xerr=errors, label=label)
    axes.set(xlabel="Spearman correlation", yticks=[place + 0.17 for place in range(len(names))])
    axes.set_yticklabels(names)
    axes.invert_yaxis()
    axes.legend()
