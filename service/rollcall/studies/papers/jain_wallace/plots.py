"""Plots of the study, as the paper has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rollcall.studies.papers.jain_wallace.cases import TASKS, Group
from rollcall.studies.papers.pictures import PALETTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _label(group: Group) -> str:
    return f"{TASKS[group.task]}, {group.kind}"


def draw_agreement(groups: Sequence[Group], figure: Figure) -> None:
    """Tau with its interval, a line for each group."""
    axes = figure.subplots()
    names = {"gradient": "gradient", "whole_gradient": "whole gradient", "leave_one_out": "leave-one-out"}
    for shift, (name, words) in enumerate(names.items()):
        means = [(at, group.tau(name)) for at, group in enumerate(groups)]
        known = [(at, mean) for at, mean in means if mean is not None]
        axes.errorbar(
            [mean.value for _, mean in known],
            [at + 0.2 * (shift - 1) for at, _ in known],
            xerr=[
                [mean.value - mean.low for _, mean in known],
                [mean.high - mean.value for _, mean in known],
            ],
            fmt="o",
            label=words,
        )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(groups)), [_label(group) for group in groups])
    axes.set(xlabel="Kendall's tau of attention, mean and 95 % interval")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)


def draw_permutations(groups: Sequence[Group], figure: Figure) -> None:
    """A point for each input."""
    kinds = list(dict.fromkeys(group.kind for group in groups))
    for axes, kind in zip(figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0], kinds, strict=True):
        for group, colour in zip([one for one in groups if one.kind == kind], PALETTE, strict=False):
            axes.plot(
                [case["median_change"] for case in group.cases],
                [case["largest"] for case in group.cases],
                ".",
                markersize=4,
                alpha=0.6,
                color=colour,
                label=TASKS[group.task],
            )
        axes.set(
            title=kind, xlabel="median change of the prediction (TVD)", ylabel="largest weight", xlim=(-0.02, 1.02)
        )
        axes.legend()


def draw_adversary(groups: Sequence[Group], figure: Figure) -> None:
    """Shares of inputs by distance."""
    kinds = list(dict.fromkeys(group.kind for group in groups))
    for axes, kind in zip(figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0], kinds, strict=True):
        for group, colour in zip([one for one in groups if one.kind == kind], PALETTE, strict=False):
            for tolerance, line in (("0.05", "-"), ("0.01", ":")):
                values = np.sort(group.furthest(tolerance))
                axes.step(
                    values,
                    1 - np.arange(len(values)) / len(values),
                    line,
                    color=colour,
                    label=f"{TASKS[group.task]}, within {tolerance}",
                )
        axes.set(title=kind, xlabel="eps-max JSD (nats)", ylabel="share of inputs at least so far", xlim=(0, 0.7))
        axes.legend(fontsize=7)
