"""`rollcall study jain-wallace`: does attention agree with other measures of importance, and is it the only one?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from rollcall.domain.errors import InvalidInput
from rollcall.studies.papers.frame import Context, Result, Study
from rollcall.studies.papers.jain_wallace.cases import Found
from rollcall.studies.papers.jain_wallace.measure import Effort, measure
from rollcall.studies.papers.jain_wallace.report import report
from rollcall.studies.papers.models import Asked, ask_recurrent, ask_transformer, books, ordinary, transformer_of

CHUNK: Final = 10
"""Inputs of one part."""
RECURRENT_EFFORT, TRANSFORMER_EFFORT = Effort(steps=150, step_size=0.15), Effort(steps=60, step_size=0.3)
QUICK_EFFORT: Final = Effort(steps=50, step_size=0.4)
INPUTS: Final = {"sst2": 60, "ag_news": 30, "sst_wiki": 30, "imdb": 10}
TRANSFORMER_INPUTS: Final = {"sst2": 30, "ag_news": 10, "sst_wiki": 20, "imdb": 5}
SEEDS: Final = {"sst2": 3, "ag_news": 2, "sst_wiki": 1, "imdb": 1}
"""Most recurrent models of a task; there is one transformer of each."""
QUICK_INPUTS: Final = 40
"""Of the recurrent model alone: transformers are left out of the reduced form."""


def run(context: Context) -> Result:
    """Ask every model about its inputs, a part at a time."""
    found = []
    for task in ["sst2"] if context.quick else context.wanted(INPUTS):
        read = books(context, task)
        for seed in context.seeds[: SEEDS[task]]:
            asked = ask_recurrent(ordinary(context, read, seed), seed)
            if context.quick:
                found.append(_measured(context, asked, QUICK_INPUTS, QUICK_EFFORT))
            else:
                found.append(_measured(context, asked, INPUTS[task], RECURRENT_EFFORT))
        if not context.quick:
            count = TRANSFORMER_INPUTS[task]
            asked = ask_transformer(context, transformer_of(task), task, 0, inputs=count)
            found.append(_measured(context, asked, count, TRANSFORMER_EFFORT))
    return report(found)


def _measured(context: Context, asked: Asked, count: int, effort: Effort) -> Found:
    """One model's cases, those of its first inputs that the model takes."""
    names = {f"{asked.name} from {start}": start for start in range(0, count, CHUNK)}

    def chunk(name: str) -> list[dict[str, Any] | None]:
        return [one(text) for text in asked.inputs[names[name] : min(names[name] + CHUNK, count)]]

    def one(text: Any) -> dict[str, Any] | None:  # noqa: ANN401 - an input
        try:
            return measure(asked.laboratory, text, effort)
        except InvalidInput:
            return None

    parts = context.parts(asked.name, list(names), partial(chunk))
    return Found(
        task=asked.task,
        kind=asked.kind,
        seed=asked.seed,
        accuracy=asked.accuracy,
        cases=_numbered(parts),
    )


def _numbered(parts: Mapping[str, list[dict[str, Any] | None]]) -> list[dict[str, Any]]:
    """Cases, each with the number of its input, which is the same for every model of a task."""
    cases = [case for part in parts.values() for case in part]
    return [case | {"input": number} for number, case in enumerate(cases) if case is not None]


STUDY: Final = Study(
    name="jain-wallace",
    title="Attention is not Explanation, again",
    paper="Jain and Wallace 2019, Attention is not Explanation, arXiv 1902.10186",
    question="Does a model's attention agree with other measures of what matters, and could very different attention "
    "have given the same answer?",
    data=("sst2", "imdb_counterfactual", "ag_news", "sst_wiki"),
    quick_seeds=1,
    full_seeds=3,
    run=run,
)
