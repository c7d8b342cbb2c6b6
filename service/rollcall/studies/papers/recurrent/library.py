"""Recurrent models of tasks, built once and kept on disk by digest of their recipe."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from rollcall.backends.encoding import Encoder
from rollcall.models.loading import LoadedModel
from rollcall.studies.flag.families.corpora import rows_of_texts
from rollcall.studies.flag.families.learning import reproducible
from rollcall.studies.flag.families.reading import Rows
from rollcall.studies.papers.recurrent.backend import RecurrentBackend
from rollcall.studies.papers.recurrent.learning import Attending, Read, Schedule, learn, learn_against, read, weighing
from rollcall.studies.papers.recurrent.network import EncoderKind, Network, NetworkShape
from rollcall.studies.papers.tasks import Task
from rollcall.training.pieces import SPECIAL_PIECES, piece_tokenizer, uncased

GENERATION: Final = 1
"""Counted up when the code changes what is built."""
LEAST_OFTEN: Final = 2
"""A word that is in fewer training texts is unknown."""
MOST_UNITS: Final = 512
"""More than any text has words: none are grouped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a model of a task is made."""

    encoder: EncoderKind = EncoderKind.LSTM
    attending: Attending = Attending.LEARNT
    schedule: Schedule = field(default_factory=Schedule)


@dataclass(frozen=True)
class Books:
    """A task as recurrent models read it: words are tokens, and each part in rows."""

    task: Task

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Over the words of the training part."""
        words = vocabulary([one.text for one in self.task.training])
        return piece_tokenizer([*SPECIAL_PIECES, *words], positions=self.task.tokens)

    @cached_property
    def training(self) -> Rows:
        """What is learnt from."""
        return rows_of_texts(self.task.training, self.tokenizer)

    @cached_property
    def dev(self) -> Rows:
        """What an epoch is chosen by."""
        return rows_of_texts(self.task.dev, self.tokenizer)

    @cached_property
    def held_out(self) -> Rows:
        """What is asked about."""
        return rows_of_texts(self.task.held_out, self.tokenizer)

    @cached_property
    def digest(self) -> str:
        """Over every text and label that a model learns from."""
        whole = hashlib.sha256()
        for one in (*self.task.training, *self.task.dev):
            whole.update(f"{one.label}\t{one.text}\n".encode())
        return whole.hexdigest()

    def network(self, encoder: EncoderKind = EncoderKind.LSTM) -> Network:
        """An untrained network over the task's words."""
        return Network(NetworkShape(words=len(self.tokenizer), classes=len(self.task.labels), encoder=encoder))


def vocabulary(texts: Sequence[str]) -> list[str]:
    """Words and punctuation marks of texts as the tokenizer parts them, the commonest first."""
    tokenizer = piece_tokenizer(SPECIAL_PIECES, positions=1)
    parting = tokenizer.backend_tokenizer.pre_tokenizer
    normalizer = uncased()
    counts = Counter(
        word
        for text in texts
        for word in {part for part, _ in parting.pre_tokenize_str(normalizer.normalize_str(text))}
    )
    return [
        word for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if count >= LEAST_OFTEN
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A model that has been trained, with its accuracy on dev."""

    books: Books = field(repr=False)
    network: Network = field(repr=False)
    attending: Attending
    digest: str
    dev: float

    def read(self, rows: Rows) -> Read:
        """What it says of texts; by its own attention, whatever that is."""
        return read(self.network, rows, weighing(self.network, self.attending))

    def loaded(self) -> LoadedModel:
        """As the engine has it; only of learnt or uniform attention, which a text alone decides."""
        assert self.attending in {Attending.LEARNT, Attending.UNIFORM}
        encoder = Encoder(
            tokenizer=self.books.tokenizer,
            max_tokens=self.books.task.tokens,
            max_units=MOST_UNITS,
            vocabulary=len(self.books.tokenizer),
        )
        backend = RecurrentBackend(network=self.network, encoder=encoder, uniform=self.attending is Attending.UNIFORM)
        return LoadedModel(
            backend=backend,
            family=f"recurrent ({self.network.shape.encoder.value})",
            labels=self.books.task.labels,
            digest=f"sha256:{self.digest}",
            self_tests=(),
            maps=backend.maps,
        )


def trained(books: Books, recipe: Recipe, *, seed: int, models: Path) -> Trained:
    """The model of a recipe, from `models` where it was built before."""

    def build(network: Network) -> float:
        return learn(network, books.training, books.dev, recipe.schedule, seed=seed, attending=recipe.attending)

    return _kept(books, recipe, {"seed": seed}, build, seed=seed, models=models)


def trained_with(books: Books, recipe: Recipe, guide: Trained, *, seed: int, models: Path) -> Trained:
    """A model that learns with another one's attention as fixed weights."""

    def build(network: Network) -> float:
        given, given_dev = guide.read(books.training).weights, guide.read(books.dev).weights
        return learn(
            network,
            books.training,
            books.dev,
            recipe.schedule,
            seed=seed,
            attending=Attending.GIVEN,
            given=given,
            given_dev=given_dev,
        )

    return _kept(books, recipe, {"seed": seed, "guide": guide.digest}, build, seed=seed, models=models)


def adversarial(books: Books, recipe: Recipe, base: Trained, weight: float, *, seed: int, models: Path) -> Trained:
    """A model that begins as `base`, answers as it does, and attends as differently as `weight` pays for."""

    def build(network: Network) -> float:
        network.load_state_dict(base.network.state_dict())
        return learn_against(
            network,
            books.training,
            books.dev,
            recipe.schedule,
            base=base.read(books.training),
            base_dev=base.read(books.dev),
            weight=weight,
            seed=seed,
        )

    facts = {"seed": seed, "begins as": base.digest, "weight": weight}
    return _kept(books, recipe, facts, build, seed=seed, models=models)


def _kept(
    books: Books, recipe: Recipe, facts: dict[str, Any], build: Callable[[Network], float], *, seed: int, models: Path
) -> Trained:
    """The model with these facts, built where `models` has none. It appears there whole or not at all."""
    plain = {"encoder": recipe.encoder.value, "attending": recipe.attending.value, "schedule": asdict(recipe.schedule)}
    named = json.dumps([GENERATION, books.digest, books.task.tokens, plain, facts], sort_keys=True)
    digest = hashlib.sha256(named.encode()).hexdigest()
    file = models / "recurrent" / f"{books.task.name}-{digest[:24]}.safetensors"
    with reproducible(seed):
        network = books.network(recipe.encoder)
        if not file.exists():
            dev = build(network)
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=file.parent, prefix=".building-") as scratch:
                whole = Path(scratch) / "whole"
                save_file(network.state_dict(), whole, metadata={"dev": repr(dev)})
                whole.rename(file)
    network.load_state_dict(load_file(file))
    network.train(mode=False)
    return Trained(books=books, network=network, attending=recipe.attending, digest=digest, dev=_dev(file))


def _dev(file: Path) -> float:
    """The accuracy that was written beside the weights."""
    with file.open("rb") as content:
        header = json.loads(content.read(int.from_bytes(content.read(8), "little")))
    return float(header["__metadata__"]["dev"])
