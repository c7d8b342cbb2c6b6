"""A study small enough to know by heart: it counts how often it was asked for each of its parts."""

from __future__ import annotations

from matplotlib.figure import Figure

from rollcall.studies.papers.frame import Claim, Comparison, Context, Picture, Result, Study

ASKED: list[str] = []
"""Parts that were made, in order."""


def run(context: Context) -> Result:
    """A part for each seed, a claim that fails from three seeds on, and one that is not clear and fails of one seed."""

    def make(name: str) -> int:
        ASKED.append(name)
        return len(name)

    found = context.parts("counting", [f"seed {seed}" for seed in context.seeds], make)
    return Result(
        summary="It counts.",
        comparisons=(
            Comparison(quantity="length | of a name", published="6", ours="6", setting="none", differs="nothing"),
        ),
        claims=(
            Claim(claim="seeds are few", holds=len(found) < 3, seen=str(len(found))),
            Claim(claim="seeds are several", holds=len(found) > 1, seen=str(len(found)), clear=False),
        ),
        findings=found,
        pictures=(Picture(name="lengths", caption="Lengths by seed", draw=_draw),),
    )


def _draw(figure: Figure) -> None:
    figure.subplots().plot([0, 1], [6, 6])


STUDY = Study(
    name="counting",
    title="Counting",
    paper="Nobody, 2026, Counting",
    question="how many?",
    data=("numbers",),
    quick_seeds=1,
    full_seeds=2,
    run=run,
)
