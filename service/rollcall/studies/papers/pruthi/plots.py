"""Plots of the study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rollcall.studies.papers.pruthi.contrast import Contrast

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(contrasts: Sequence[Contrast], figure: Figure) -> None:
    """How well each check tells the twins apart."""
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
