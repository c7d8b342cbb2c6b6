"""`rollcall study wiegreffe-pinter`: under which conditions is attention evidence about a model?"""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any, Final

import numpy as np
import torch

from rollcall.domain.distances import jensen_shannon
from rollcall.domain.seeds import random_permutations
from rollcall.studies.papers.frame import Context, Result, Study
from rollcall.studies.papers.inquiry import Inquiry
from rollcall.studies.papers.models import ask_recurrent, books, ordinary, recipe
from rollcall.studies.papers.recurrent.learning import Attending, Read, Schedule, read, weighing
from rollcall.studies.papers.recurrent.library import Books, Recipe, Trained, adversarial, trained, trained_with
from rollcall.studies.papers.recurrent.network import EncoderKind
from rollcall.studies.papers.wiegreffe_pinter.report import report

SEEDS: Final = {"sst2": 3}
"""Most models of a task."""
WEIGHTS: Final = {
    "sst2": (0.01, 0.03, 0.1, 0.3),
}
"""Lambda of the adversary's loss."""
EPOCHS: Final = 4
"""Of the adversary, which begins as the base. The paper's begins anew, and has up to 80."""
FURTHEST_INPUTS: Final = 60
TOLERANCE: Final = 0.05
QUICK_WEIGHTS, QUICK_INPUTS, QUICK_ADVERSARY_EPOCHS = (0.01, 0.1), 15, 4


def run(context: Context) -> Result:
    """All four tests on each task."""
    return report({task: _Bench(context, task).findings() for task in SEEDS})


class _Bench:
    """One task with its models, which are trained when they are first asked for."""

    def __init__(self, context: Context, task: str) -> None:
        """Read the texts."""
        self.context = context
        self.task = task
        self.seeds = context.seeds[: SEEDS[task]]
        self.books: Books = books(context, task)

    def findings(self) -> dict[str, Any]:
        """Everything about this task, by test."""
        weights = QUICK_WEIGHTS if self.context.quick else WEIGHTS[self.task]
        return {
            "seeds": self._parts("seed", [str(seed) for seed in self.seeds], self._seed),
            "pairs": self._parts("pair", [f"{a} {b}" for a, b in combinations(self.seeds, 2)], self._pair),
            "adversaries": self._parts("adversary", [f"{weight:g}" for weight in weights], self._adversary),
            "guides": self._parts(
                "guide",
                [f"{guide} {seed}" for guide in ("uniform", "own", "base", "adversary") for seed in self.seeds],
                partial(self._guide, max(weights)),
            ),
            "furthest": self._parts("furthest", ["inputs"], self._furthest)["inputs"],
        }

    def _parts(self, label: str, names: list[str], make: Any) -> dict[str, Any]:  # noqa: ANN401 - of a name
        prefix = f"{self.task} {label} "
        found = self.context.parts(
            prefix.strip(), [prefix + name for name in names], lambda name: make(name.removeprefix(prefix))
        )
        return {name.removeprefix(prefix): part for name, part in found.items()}

    def _base(self, seed: int) -> Trained:
        return ordinary(self.context, self.books, seed)

    def _trained(self, made: Recipe, seed: int) -> Trained:
        return trained(self.books, made, seed=seed, models=self.context.models)

    def _scores(self, said: Read) -> dict[str, float]:
        return {"accuracy": said.accuracy(self.books.held_out), "f1": said.f1(self.books.held_out)}

    def _seed(self, name: str) -> dict[str, Any]:
        """Learnt attention against uniform attention that was there from the first step on."""
        seed = int(name)
        uniform = self._trained(Recipe(attending=Attending.UNIFORM, schedule=recipe(self.context).schedule), seed)
        base = self._base(seed).read(self.books.held_out)
        return {
            "base": self._scores(base),
            "uniform": self._scores(uniform.read(self.books.held_out)),
            "permuted_jsd": self._permuted(base, seed),
        }

    def _permuted(self, said: Read, seed: int) -> float:
        """Mean JSD of attention from itself, dealt out anew: how far apart maps of these shapes are at random."""
        found = []
        for number, weights in enumerate(said.weights):
            own = weights.double().numpy()[1:-1]
            order = random_permutations(seed, f"permuted {number}", (len(own),))
            found.append(float(jensen_shannon(own, own[order])))
        return float(np.mean(found))

    def _pair(self, name: str) -> dict[str, float]:
        """Two models that differ in nothing but their seed."""
        first, second = (self._base(int(seed)).read(self.books.held_out) for seed in name.split())
        return _apart(first, second)

    def _against(self, weight: float) -> Trained:
        epochs = QUICK_ADVERSARY_EPOCHS if self.context.quick else EPOCHS
        made = Recipe(schedule=Schedule(epochs=epochs))
        return adversarial(self.books, made, self._base(self.seeds[0]), weight, seed=1000, models=self.context.models)

    def _adversary(self, name: str) -> dict[str, float]:
        """A model trained to answer as the base does, and paid for other attention."""
        said = self._against(float(name)).read(self.books.held_out)
        return _apart(self._base(self.seeds[0]).read(self.books.held_out), said) | self._scores(said)

    def _guide(self, weight: float, name: str) -> dict[str, float]:
        """A model that reads word by word, with somebody's attention as fixed weights."""
        kind, seed = name.split(maxsplit=1)[0], int(name.split()[1])
        plain = Recipe(encoder=EncoderKind.PROJECTION, schedule=recipe(self.context).schedule)
        held_out = self.books.held_out
        if kind in {"uniform", "own"}:
            attending = Attending.UNIFORM if kind == "uniform" else Attending.LEARNT
            made = Recipe(encoder=plain.encoder, schedule=plain.schedule, attending=attending)
            return self._scores(self._trained(made, seed).read(held_out))
        guide = self._base(self.seeds[0]) if kind == "base" else self._against(weight)
        pupil = trained_with(self.books, plain, guide, seed=seed, models=self.context.models)
        given = weighing(pupil.network, Attending.GIVEN, guide.read(held_out).weights)
        return self._scores(read(pupil.network, held_out, given))

    def _furthest(self, _: str) -> list[float]:
        """The adversary of a single input on the base model, by the engine's search."""
        asked = ask_recurrent(self._base(self.seeds[0]), self.seeds[0])
        count = QUICK_INPUTS if self.context.quick else FURTHEST_INPUTS
        return [
            Inquiry.of(asked.laboratory, text).furthest(TOLERANCE, restarts=5, steps=100, step_size=0.2)
            for text in asked.inputs[:count]
        ]


def _apart(first: Read, second: Read) -> dict[str, float]:
    """How far two models lie apart on the same texts: attention in nats, predictions in total variation."""
    distances = [
        float(jensen_shannon(a.double().numpy(), b.double().numpy()))
        for a, b in zip(first.weights, second.weights, strict=True)
    ]
    tvd = (first.probabilities - second.probabilities).abs().sum(dim=1) / 2
    same = first.probabilities.argmax(dim=1) == second.probabilities.argmax(dim=1)
    return {
        "jsd": float(np.mean(distances)),
        "jsd_median": float(np.median(distances)),
        "tvd": float(tvd.mean()),
        "tvd_median": float(tvd.median()),
        "agree": float(same.to(torch.float64).mean()),
    }


STUDY: Final = Study(
    name="wiegreffe-pinter",
    title="Attention is not not Explanation, again",
    paper="Wiegreffe and Pinter 2019, Attention is not not Explanation, arXiv 1908.04626",
    question="Under which conditions is attention evidence about a model, and is an adversary's map further away than "
    "that of the same model trained again?",
    data=("sst2",),
    quick_seeds=2,
    full_seeds=3,
    run=run,
)
