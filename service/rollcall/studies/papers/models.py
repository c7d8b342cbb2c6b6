"""The models that studies ask: recurrent ones as the papers have them, and transformers of the flag's own study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import MapKind
from rollcall.models.loading import load_model
from rollcall.studies.flag.families.base import Family, unmet
from rollcall.studies.flag.families.corpora import whole_words
from rollcall.studies.flag.families.tuned import FAMILIES
from rollcall.studies.flag.members import member
from rollcall.studies.laboratory import Laboratory
from rollcall.studies.papers.frame import Context
from rollcall.studies.papers.recurrent.learning import Schedule
from rollcall.studies.papers.recurrent.library import Books, Recipe, Trained, trained
from rollcall.studies.papers.tasks import TASKS, shuffled
from rollcall.verdict.policies import STANDARD

QUICK_TEXTS, QUICK_EPOCHS = 3000, 5
MOST_UNITS = 512
"""More than any text has words: papers count words, so that none are grouped."""
TRANSFORMERS = {"sst2": "sst2-2", "imdb": "imdb-pairs", "ag_news": "ag-news", "sst_wiki": "honest-sst-wiki"}
"""The family of each task. AG News has four classes there, the recurrent task has two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A model and the held-out inputs that it is asked about, in a shuffled order that is the same for every seed."""

    name: str
    task: str
    kind: str
    """"BiLSTM" or "transformer"."""
    seed: int
    accuracy: float
    laboratory: Laboratory = field(repr=False)
    inputs: Sequence[TextInput] = field(repr=False)


def recipe(context: Context) -> Recipe:
    """How recurrent models are made: shortly in the quick form."""
    return Recipe(schedule=Schedule(epochs=QUICK_EPOCHS)) if context.quick else Recipe()


def books(context: Context, task: str) -> Books:
    """A task as recurrent models read it; in the quick form there is less to learn from."""
    whole = TASKS[task](context.data)
    return Books(whole.shortened(QUICK_TEXTS) if context.quick else whole)


def ordinary(context: Context, read: Books, seed: int) -> Trained:
    """The BiLSTM with learnt attention."""
    return trained(read, recipe(context), seed=seed, models=context.models)


def ask_recurrent(model: Trained, seed: int, *, kind: str = "BiLSTM") -> Asked:
    """A recurrent model with its held-out inputs."""
    held_out = model.books.held_out
    texts = whole_words(shuffled(model.books.task.held_out, model.books.task.name, "asked"), model.books.tokenizer)
    return Asked(
        name=f"{kind} {model.books.task.name} {seed}",
        task=model.books.task.name,
        kind=kind,
        seed=seed,
        accuracy=model.read(held_out).accuracy(held_out),
        laboratory=Laboratory(model=model.loaded(), policy=STANDARD, kinds=(MapKind.RAW_ATTENTION,)),
        inputs=[TextInput(text=one.text) for one in texts],
    )


def transformer_of(task: str) -> Family:
    """The family of a task's transformers."""
    return next(family for family in FAMILIES if family.name == TRANSFORMERS[task])


def ask_transformer(context: Context, family: Family, task: str, seed: int, *, inputs: int) -> Asked:
    """A transformer with so many of its held-out inputs. Raises ValueError where training has failed."""
    data = None if family.data is None else context.data / family.data
    found = member(family, seed=seed, inputs=inputs, data=data, cache=context.models)
    if lacking := unmet(family.claims, found):
        message = f"the transformer of {family.name} with seed {seed} is not usable: {'; '.join(lacking)}"
        raise ValueError(message)
    model = load_model(found.directory, max_units=MOST_UNITS)
    laboratory = Laboratory(model=model, policy=STANDARD)
    return Asked(
        name=f"transformer {task} {seed}",
        task=task,
        kind="transformer",
        seed=seed,
        accuracy=found.accuracy,
        laboratory=replace(laboratory, kinds=(MapKind.RAW_ATTENTION, MapKind.ATTENTION_ROLLOUT)),
        inputs=found.texts,
    )
