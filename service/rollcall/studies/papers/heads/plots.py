"""Plots of the study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rollcall.studies.papers.heads.taken import KEPT, Taken

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_pruning(models: Sequence[Taken], figure: Figure) -> None:
    """Decisions that stay as heads go, a panel for each model."""
    for number, one in enumerate(models):
        axes = figure.add_subplot(1, len(models), number + 1)
        gone = [count / one.total for count in range(one.total + 1)]
        for label, curve in (
            ("least important first", one.least_first),
            ("random order", one.random),
            ("most important first", one.most_first),
        ):
            axes.plot(gone, curve, label=label)
        axes.axhline(KEPT, color="black", linewidth=0.6, linestyle=":")
        axes.set(xlabel="share of heads gone", ylabel="share of decisions that stay", ylim=(0, 1.02), title=one.name)
        if number == 0:
            axes.legend(fontsize=8)


def draw_parts(models: Sequence[Taken], figure: Figure) -> None:
    """Decisions that turn round without a part of all layers."""
    axes = figure.subplots()
    names = list(models[0].parts["nothing"])
    height = 0.8 / (2 * len(models))
    for number, (one, off) in enumerate((one, off) for one in models for off in ("nothing", "mean")):
        places = [at + height * number for at in range(len(names))]
        axes.barh(places, [one.parts[off][name][-1] for name in names], height=height, label=f"{one.name}: {off}")
    axes.set(xlim=(0, 1), xlabel="share of decisions that turn round", yticks=[at + 0.3 for at in range(len(names))])
    axes.set_yticklabels(names)
    axes.invert_yaxis()
    axes.legend(fontsize=8)
