"""`rollcall study vashishth`: which tasks need their attention?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from rollcall.backends.base import BatchRow
from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import Floats, MapOptions
from rollcall.domain.rows import AttentionEdit, Row
from rollcall.domain.seeds import derived_seed, random_words
from rollcall.engine.engine import Engine
from rollcall.models.loading import LoadedModel
from rollcall.studies.laboratory import NAME
from rollcall.studies.papers.frame import Context, Result, Study
from rollcall.studies.papers.models import books, ordinary, recipe
from rollcall.studies.papers.recurrent.learning import Attending
from rollcall.studies.papers.recurrent.library import Recipe, trained
from rollcall.studies.papers.tasks import shuffled
from rollcall.studies.papers.vashishth.models import Course, build
from rollcall.studies.papers.vashishth.questions import KINDS
from rollcall.studies.papers.vashishth.report import REPLACED, report

DRAWS: Final = 3
"""Permutations, and random weights, of each input."""
SPREAD: Final = 6.0
"""Of random attention logits: large beside those that are learnt."""
TRAINING, ASKED = 40_000, 500
"""In the reduced form, too: with less to learn from, models hardly learn to compare, so that nothing could be lost."""
STEPS: Final = {"single": 300, "pair": 600, "next word": 600}
BATCH: Final = 32


def run(context: Context) -> Result:
    """Every kind of question by transformers, and single texts by BiLSTMs."""
    jobs = {
        (kind, "transformer", seed): partial(_transformer, context, kind, seed)
        for seed in context.seeds
        for kind in KINDS
    } | {("single", "BiLSTM", seed): partial(_recurrent, context, seed) for seed in context.seeds}
    named = {f"{kind}, {model} {seed}": job for (kind, model, seed), job in jobs.items()}
    parts = context.parts("questions", list(named), lambda name: named[name]())
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for (kind, model, _), part in zip(jobs, parts.values(), strict=True):
        found.setdefault(kind, {}).setdefault(model, []).append(part)
    return report(found)


def _transformer(context: Context, kind: str, seed: int) -> dict[str, Any]:
    """Attention replaced in a trained model, and in one that never had any other than shuffled."""
    task = KINDS[kind](context.data, TRAINING, ASKED)
    lessons = [(task, STEPS[kind])]
    if kind == "pair":
        lessons.insert(0, (KINDS["single"](context.data, TRAINING, ASKED), STEPS["single"]))
    own = build(Course(lessons=lessons), seed=seed, models=context.models)
    inputs, labels = [one.input for one in task.held_out], [one.label for one in task.held_out]
    found = {"chance": task.chance, "replaced": replaced(own, inputs, labels), "trained": {}}
    if not context.quick:
        shuffled = build(Course(lessons=lessons, permuting=True), seed=seed, models=context.models)
        found["trained"] = {"permuted": replaced(shuffled, inputs, labels)["permuted"]["accuracy"]}
    return found


def _recurrent(context: Context, seed: int) -> dict[str, Any]:
    """The same of the model of the papers, on sentences; trained with uniform and random attention as well."""
    read = books(context, "sst2")
    held_out = shuffled(read.task.held_out, "vashishth", "recurrent")[:ASKED]
    inputs, labels = [TextInput(text=one.text) for one in held_out], [one.label for one in held_out]
    schedule = recipe(context).schedule
    frozen = {
        name: trained(read, Recipe(attending=attending, schedule=schedule), seed=seed, models=context.models)
        for name, attending in (("uniform", Attending.UNIFORM), ("random", Attending.RANDOM))
    }
    return {
        "chance": max(np.mean(labels), 1 - np.mean(labels)),
        "replaced": replaced(ordinary(context, read, seed).loaded(), inputs, labels),
        "trained": {name: model.read(read.held_out).accuracy(read.held_out) for name, model in frozen.items()},
    }


def replaced(model: LoadedModel, inputs: Sequence[TextInput], labels: Sequence[int]) -> dict[str, dict[str, float]]:
    """Accuracy, and share of answers that stay, with each replacement of the attention in all layers and heads.

    `random`: every layer and head has random logits for each key, large beside the learnt ones, the same for every
    query. Mean over draws.
    """
    shape, backend = model.backend.shape, model.backend
    engine = Engine(models={NAME: model})
    encodings = [backend.encode(one) for one in inputs]
    own = _answers(engine, [(at, Row()) for at in range(len(inputs))], encodings)
    found = {"own": {"accuracy": float(np.mean(own == np.array(labels))), "same": 1.0}}

    def row(name: str, at: int, draw: int) -> Row:
        match name:
            case "uniform":
                return Row(edit=AttentionEdit.UNIFORM)
            case "permuted":
                return Row(edit=AttentionEdit.PERMUTED, seed=derived_seed(draw, "permuted", at))
            case _:
                size = (shape.layers, shape.heads, encodings[at].length)
                return Row(edit=AttentionEdit.BIASED, bias=random_logits(derived_seed(draw, "random", at), size))

    for name in REPLACED:
        draws = range(1 if name == "uniform" else DRAWS)
        said = [_answers(engine, [(at, row(name, at, draw)) for at in range(len(inputs))], encodings) for draw in draws]
        found[name] = {
            "accuracy": float(np.mean([one == np.array(labels) for one in said])),
            "same": float(np.mean([one == own for one in said])),
        }
    return found


def random_logits(seed: int, shape: tuple[int, ...]) -> Floats:
    """Uniform within SPREAD of 0."""
    words = random_words(seed, "logits", shape)
    return np.asarray((words >> np.uint64(11)).astype(np.float64) / 2**53 * 2 - 1) * SPREAD


def _answers(engine: Engine, asked: Sequence[tuple[int, Row]], encodings: Sequence[Any]) -> Floats:
    """Predicted classes of rows, each of the encoding with its number; neighbours in length share a batch."""
    said = np.zeros(len(asked))
    order = sorted(range(len(asked)), key=lambda at: encodings[asked[at][0]].length)
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        rows = [BatchRow(encoding=encodings[asked[at][0]], row=asked[at][1], options=MapOptions()) for at in part]
        said[part] = [int(result.logits.argmax()) for result in engine.run(NAME, rows)]
    return said


STUDY: Final = Study(
    name="vashishth",
    title="Attention Interpretability Across NLP Tasks, again",
    paper="Vashishth et al. 2019, Attention Interpretability Across NLP Tasks, arXiv 1909.11218",
    question="Which tasks need their attention, so that it can be asked about at all?",
    data=("sst2", "imdb_counterfactual"),
    quick_seeds=1,
    full_seeds=2,
    run=run,
)
