"""A transformer for each kind of question, trained in the ordinary way or with attention dealt out in every step."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from transformers import BertForSequenceClassification

from rollcall.models.loading import LoadedModel, load_model
from rollcall.studies.flag.families.learning import Schedule, Shape, new_classifier, reproducible, train
from rollcall.studies.papers.vashishth.questions import POSITIONS, Questions, rows_of

GENERATION: Final = 1
SHAPE: Final = Shape(layers=2, width=128, feed_forward=256, positions=POSITIONS)
MOST_UNITS: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What a model learns one after the other, the last being its task, and for how many steps.

    A pair task begins with the single texts: from nothing a model of this size does not learn to compare.
    """

    lessons: Sequence[tuple[Questions, int]]
    permuting: bool = False

    @property
    def task(self) -> Questions:
        """What the model is asked."""
        return self.lessons[-1][0]

    def digest(self, seed: int) -> str:
        """Over everything that decides the weights."""
        whole = hashlib.sha256(json.dumps([GENERATION, asdict(SHAPE), self.permuting, seed]).encode())
        for questions, steps in self.lessons:
            whole.update(f"{questions.kind} {steps} {questions.labels}".encode())
            for one in questions.training:
                whole.update(f"{one.label}\t{one.text}\t{one.other}\n".encode())
        return whole.hexdigest()[:16]


def build(course: Course, *, seed: int, models: Path) -> LoadedModel:
    """The model of a course as the engine has it, from `models` where it was trained before."""
    name = course.task.kind.replace(" ", "-")
    kept = models / "questions" / f"{name}{'-permuted' if course.permuting else ''}-{course.digest(seed)}"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".building-") as scratch:
            whole = Path(scratch) / "whole"
            _train(course, seed, whole)
            whole.rename(kept)
    return load_model(kept, max_units=MOST_UNITS)


def _train(course: Course, seed: int, directory: Path) -> None:
    tokenizer = course.lessons[0][0].tokenizer()
    with reproducible(seed):
        model: BertForSequenceClassification = new_classifier(SHAPE, pieces=len(tokenizer), labels=course.task.labels)
        for questions, steps in course.lessons:
            rows = rows_of(questions.training, tokenizer)
            schedule = Schedule(steps=steps, removal_share=0.0)
            train(model, rows, schedule, seed=seed, name=questions.kind, permuting=course.permuting)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
