"""Draw a study's plots as SVG, the same bytes for the same numbers. matplotlib comes with the extra `studies`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rollcall.studies.papers.frame import Picture

PALETTE: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""Okabe and Ito's, which people who do not see red and green apart can tell."""


def draw(pictures: Sequence[Picture], out: Path) -> list[str]:
    """Draw into `out`; returns the names of the files. Raises ImportError without matplotlib."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra
    from cycler import cycler  # noqa: PLC0415 - comes with it
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    style: dict[Any, Any] = {
        "svg.hashsalt": "rollcall",
        "axes.prop_cycle": cycler(color=PALETTE),
        "legend.frameon": False,
    }
    with mpl.rc_context(style):
        for picture in pictures:
            figure = Figure(figsize=picture.inches, layout="constrained")
            picture.draw(figure)
            figure.savefig(out / f"{picture.name}.svg", metadata={"Date": None})
    return [f"{picture.name}.svg" for picture in pictures]
