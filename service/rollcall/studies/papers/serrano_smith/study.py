"""`rollcall study serrano-smith`: do the weights rank what the decision hangs on, one by one and in sets?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rollcall.domain.errors import InvalidInput
from rollcall.domain.inputs import TextInput
from rollcall.studies.papers.frame import Context, Result, Study
from rollcall.studies.papers.models import Asked, ask_recurrent, ask_transformer, books, recipe, transformer_of
from rollcall.studies.papers.recurrent.library import Recipe, trained
from rollcall.studies.papers.recurrent.network import EncoderKind
from rollcall.studies.papers.serrano_smith.measure import measure
from rollcall.studies.papers.serrano_smith.report import Found, report

KINDS: Final = {
    EncoderKind.LSTM: "BiLSTM",
    EncoderKind.CONVOLUTION: "convolution",
    EncoderKind.PROJECTION: "no encoder",
}
INPUTS: Final = {"sst2": 200, "ag_news": 100, "imdb": 20}
SEEDS: Final = {"sst2": 2, "ag_news": 1, "imdb": 1}
ENCODERS: Final = {
    "sst2": tuple(KINDS),
    "ag_news": (EncoderKind.LSTM, EncoderKind.PROJECTION),
    "imdb": (EncoderKind.LSTM,),
}
TRANSFORMER_INPUTS: Final = {"sst2": 40}
QUICK_INPUTS: Final = 60
CHUNK: Final = 50


def run(context: Context) -> Result:
    """Ask every model about its inputs."""
    found = []
    for task in ["sst2"] if context.quick else context.wanted(INPUTS):
        read = books(context, task)
        count = QUICK_INPUTS if context.quick else INPUTS[task]
        for seed in context.seeds[: SEEDS[task]]:
            for encoder in ENCODERS[task]:
                made = Recipe(encoder=encoder, schedule=recipe(context).schedule)
                model = trained(read, made, seed=seed, models=context.models)
                found.append(_measured(context, ask_recurrent(model, seed, kind=KINDS[encoder]), count))
        if not context.quick and task in TRANSFORMER_INPUTS:
            count = TRANSFORMER_INPUTS[task]
            asked = ask_transformer(context, transformer_of(task), task, 0, inputs=count)
            found.append(_measured(context, asked, count))
    return report(found)


def _measured(context: Context, asked: Asked, count: int) -> Found:
    """One model's cases, those of its first inputs that the model takes."""
    names = {f"{asked.name} from {start}": start for start in range(0, count, CHUNK)}

    def chunk(name: str) -> list[dict[str, Any] | None]:
        return [one(text) for text in asked.inputs[names[name] : min(names[name] + CHUNK, count)]]

    def one(text: TextInput) -> dict[str, Any] | None:
        try:
            return measure(asked.laboratory, text)
        except InvalidInput:
            return None

    parts = context.parts(asked.name, list(names), chunk)
    cases = _numbered(parts)
    return Found(task=asked.task, kind=asked.kind, accuracy=asked.accuracy, cases=cases)


def _numbered(parts: Mapping[str, list[dict[str, Any] | None]]) -> list[dict[str, Any]]:
    """Cases, each with the number of its input, which is the same for every model of a task."""
    cases = [case for part in parts.values() for case in part]
    return [case | {"input": number} for number, case in enumerate(cases) if case is not None]


STUDY: Final = Study(
    name="serrano-smith",
    title="Is Attention Interpretable, again",
    paper="Serrano and Smith 2019, Is Attention Interpretable?, arXiv 1906.03731",
    question="Does the decision hang on what has the largest weights, and is their order the fastest way to change it?",
    data=("sst2", "imdb_counterfactual", "ag_news"),
    quick_seeds=1,
    full_seeds=2,
    run=run,
)
