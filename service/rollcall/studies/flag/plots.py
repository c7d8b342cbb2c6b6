"""Pictures of the report. matplotlib comes with the extra `studies`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rollcall.domain.verdicts import Flag
from rollcall.studies.flag.evaluate import Judged

COLOURS = {Flag.FAITHFUL: "#0072b2", Flag.UNFAITHFUL: "#d55e00", Flag.INCONCLUSIVE: "#999999"}
"""Of Okabe and Ito's palette, which people who do not see red and green apart can tell."""


def draw(report: Mapping[str, Any], everything: Sequence[Judged], out: Path, *, threshold: float) -> list[str]:
    """Draw into `out`; returns the names of the files. Raises ImportError without matplotlib."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra

    mpl.use("Agg")
    return [_families(report, out), _alignment(everything, out, threshold)]


def _families(report: Mapping[str, Any], out: Path) -> str:
    """Shares of flags by family, and above each bar how many of them are wrong."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    names = sorted(report["families"], reverse=True)
    families = [report["families"][name] for name in names]
    figure = Figure(figsize=(8, 0.32 * len(names) + 1.4), layout="constrained")
    axes = figure.subplots()
    left = [0.0] * len(names)
    for flag, key in ((Flag.FAITHFUL, "faithful"), (Flag.UNFAITHFUL, "unfaithful")):
        shares = [one[key]["share"] for one in families]
        axes.barh(names, shares, left=left, color=COLOURS[flag], label=flag.name)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axes.barh(names, [1 - a for a in left], left=left, color=COLOURS[Flag.INCONCLUSIVE], label="INCONCLUSIVE")
    for name, one in zip(names, families, strict=True):
        wrong = one["wrong_of_flags"]
        axes.text(1.01, name, f"{100 * wrong['share']:.1f} % wrong", va="center", fontsize=8)
    axes.set(xlim=(0, 1.2), xlabel="share of maps of inputs with reach, default widths")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    figure.savefig(out / "flags-by-family.svg")
    return "flags-by-family.svg"


def _alignment(everything: Sequence[Judged], out: Path, threshold: float) -> str:
    """A after all looks against A*, coloured by flag."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    for flag, colour in COLOURS.items():
        some = [(one.truth.alignment, one.alignment) for one in everything if one.ruling.flag is flag]
        known = [(truth, seen) for truth, seen in some if seen is not None]
        axes.plot(
            [truth for truth, _ in known],
            [seen for _, seen in known],
            ".",
            color=colour,
            markersize=2,
            alpha=0.4,
            label=flag.name,
            rasterized=True,
        )
    axes.axvline(threshold, color="black", linewidth=0.8)
    axes.axhline(threshold, color="black", linewidth=0.8)
    axes.set(xlabel="A*, from 512 to 4,096 removals", ylabel="A, from 48 removals", xlim=(-1, 1.02), ylim=(-1, 1.02))
    axes.legend(markerscale=6, frameon=False)
    figure.savefig(out / "alignment-against-truth.svg", dpi=150)
    return "alignment-against-truth.svg"
