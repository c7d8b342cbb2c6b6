"""Tables of the report, and its plot: when attention is evidence, and the adversary beside the seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rollcall.studies.markdown import table
from rollcall.studies.papers.pictures import PALETTE
from rollcall.studies.papers.wiegreffe_pinter.numbers import TASKS, guided, quietest, scores, yardstick

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def conditions(found: Mapping[str, Any]) -> str:
    """Which of the four conditions each task meets."""
    rows = []
    for task, one in found.items():
        lost = scores(one, "base") - scores(one, "uniform")
        seeds, quiet = yardstick(one), quietest(one)
        permuted = float(np.mean([seed["permuted_jsd"] for seed in one["seeds"].values()]))
        base, uniform = guided(one, "base"), guided(one, "uniform")
        noise = float(lost.std(ddof=1)) / len(lost) ** 0.5 if len(lost) > 1 else 0.0
        gained = base - uniform
        gain_noise = float(gained.std(ddof=1)) / len(gained) ** 0.5 if len(gained) > 1 else 0.0
        exists = quiet is not None and quiet[1]["jsd"] > seeds["jsd"]
        rows += [
            (
                TASKS[task],
                "1. The model needs it: uniform attention, trained so, is worse",
                f"F1 lost {lost.mean():+.3f}, twice the standard error {2 * noise:.3f}",
                _met(lost.mean() > 2 * noise),
            ),
            (
                TASKS[task],
                "2. Training finds it again: seeds agree more than chance does",
                f"JSD of seeds {seeds['jsd']:.3f}, of dealt-out weights {permuted:.3f}",
                _met(seeds["jsd"] < permuted),
            ),
            (
                TASKS[task],
                "3. It tells others something: it guides a model without context better than uniform weights do",
                f"F1 gained {gained.mean():+.3f}, twice the standard error {2 * gain_noise:.3f}",
                _met(gained.mean() > 2 * gain_noise),
            ),
            (
                TASKS[task],
                "4. It is not free: no model answers the same with attention further away than another seed's",
                "no adversary is as near as another seed"
                if quiet is None
                else f"JSD {quiet[1]['jsd']:.3f} at TVD "
                f"{quiet[1]['tvd']:.3f}; seeds {seeds['jsd']:.3f} at {seeds['tvd']:.3f}",
                _met(not exists),
            ),
        ]
    return (
        "Attention can be evidence about a model only where it passes all four; a task that fails the first says "
        "nothing about attention whatever an adversary finds there.\n\n"
        + table(("task", "condition", "seen", "met"), rows)
    )


def _met(holds: object) -> str:
    return "yes" if holds else "no"


def beside(found: Mapping[str, Any]) -> str:
    """Every pair of seeds and every adversary."""
    rows = []
    for task, one in found.items():
        title = TASKS[task]
        rows += [(title, f"seeds {name}", *_cells(pair)) for name, pair in one["pairs"].items()]
        rows += [(title, f"adversary, lambda {name}", *_cells(each)) for name, each in one["adversaries"].items()]
        rows.append(
            (
                title,
                "adversary of one input (within .05)",
                f"{np.mean(one['furthest']):.3f}",
                f"{np.median(one['furthest']):.3f}",
                "at most .05",
                "all",
            )
        )
    return table(("task", "against the base (seed 0), or each other", "JSD", "median", "TVD", "same answer"), rows)


def _cells(pair: Mapping[str, float]) -> tuple[str, ...]:
    numbers = (f"{pair[key]:.3f}" for key in ("jsd", "jsd_median", "tvd"))
    return (*numbers, f"{100 * pair['agree']:.0f} %")


def draw(found: Mapping[str, Any], figure: Figure) -> None:
    """A panel for each task."""
    for axes, (task, one) in zip(figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True):
        adversaries = sorted(one["adversaries"].items(), key=lambda item: float(item[0]))
        axes.plot(
            [each["tvd"] for _, each in adversaries],
            [each["jsd"] for _, each in adversaries],
            "o-",
            color=PALETTE[1],
            label="adversarial models",
        )
        for name, each in adversaries:
            axes.annotate(name, (each["tvd"], each["jsd"]), textcoords="offset points", xytext=(5, -9), fontsize=7)
        pairs = list(one["pairs"].values())
        axes.plot([p["tvd"] for p in pairs], [p["jsd"] for p in pairs], "s", color=PALETTE[0], label="seeds")
        axes.axhline(np.median(one["furthest"]), color=PALETTE[7], linestyle=":", label="one input alone, median")
        axes.set(
            title=TASKS[task], xlabel="mean TVD of predictions", ylabel="mean JSD of attention (nats)", ylim=(0, 0.7)
        )
        axes.legend(fontsize=7)
