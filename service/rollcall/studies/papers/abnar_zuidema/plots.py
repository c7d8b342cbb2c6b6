"""Plots of the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rollcall.studies.papers.abnar_zuidema.published import MAPS, PUBLISHED, Means
from rollcall.studies.papers.intervals import Mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_agreement(means: Means, layers: int, figure: Figure) -> None:
    """Agreement with blank-out by layer, over every token, as published."""
    axes = figure.subplots()
    places = list(range(1, layers + 1))
    for name in MAPS:
        ours = means["tokens", "blank-out", name]
        (line,) = axes.plot(places, [one.value for one in ours], marker="o", label=name)
        colour = line.get_color()
        axes.fill_between(places, [one.low for one in ours], [one.high for one in ours], alpha=0.2, color=colour)
        published = PUBLISHED["blank-out", name]
        if len(published) == layers:
            axes.plot(places, published, linestyle="--", color=colour, alpha=0.7)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set(xlabel="layer", ylabel="Spearman with blank-out", xticks=places)
    axes.legend()


def draw_mixing(drift: Mapping[str, Sequence[Mean]], layers: int, figure: Figure) -> None:
    """How far everything is from uniform, by layer."""
    axes = figure.subplots()
    places = list(range(1, layers + 1))
    labels: dict[str, str] = {name: f"{name} from uniform" for name in MAPS} | {"apart": "rollouts from each other"}
    for name, label in labels.items():
        axes.plot(places, [one.value for one in drift[name]], marker="o", label=label)
    axes.set(xlabel="layer", ylabel="Jensen-Shannon divergence, nats", xticks=places, yscale="log")
    axes.legend()
