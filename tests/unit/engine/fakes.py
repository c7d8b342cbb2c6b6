"""A backend that computes nothing: it answers by arithmetic on the rows, and fails as devices fail."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from rollcall.backends.base import (
    AttentionReductions,
    BatchOutput,
    BatchRow,
    BiasedAttention,
    Capture,
    CaptureRequest,
    Decomposition,
    PathGradients,
    Shape,
)
from rollcall.domain.decision import Decision, Task
from rollcall.domain.errors import InvalidInput
from rollcall.domain.inputs import Encoding, ModelInput, TextInput, Unit
from rollcall.domain.maps import MapKind
from rollcall.domain.model import SelfTest
from rollcall.domain.rows import AttentionEdit
from rollcall.engine.engine import Engine
from rollcall.models.loading import LoadedModel

CLASSES, WIDTH, LAYERS, HEADS = 2, 3, 2, 2


class Activations:
    """What a forward keeps on the device while it runs."""


@dataclass(kw_only=True)
class FakeBackend:
    """Answers each row with its seed; `capacity` rows fit on the device, `failure` is raised instead of an answer.

    Rows with seed `poison` make the whole batch fail, those with seed `not_a_number` answer NaN; `lost_rows` results
    are missing from every batch.
    """

    capacity: int = 1000
    out_of_memory: Callable[[], Exception] = lambda: torch.OutOfMemoryError("out of memory")
    poison: int = -1
    not_a_number: int = -1
    noise: float = 0.0
    lost_rows: int = 0
    batch_is_neutral: bool = True
    failure: Callable[[], Exception] | None = None
    spoiled: Callable[[AttentionReductions], AttentionReductions] = lambda reductions: reductions
    batches: list[int] = field(default_factory=list)
    kept_from_before: list[bool] = field(default_factory=list)
    running: list[weakref.ref[Activations]] = field(default_factory=list)

    name = "fake"
    is_counted = True
    device = "cpu"
    dtype = "float32"
    shape = Shape(layers=LAYERS, heads=HEADS, width=WIDTH, classes=CLASSES, max_tokens=16)
    task = Task.SINGLE_LABEL
    maps = tuple(MapKind)
    readout = 0

    def encode(self, model_input: ModelInput) -> Encoding:
        """A unit per word between two special tokens."""
        assert isinstance(model_input, TextInput)
        words = model_input.text.split()
        if not words:
            raise InvalidInput.of("text.text", "holds no word")
        return encoding(len(words))

    def predict(self, rows: Sequence[BatchRow]) -> torch.Tensor:
        """Logits (number of words, minus it), or what `run` would raise."""
        self._start(len(rows))
        words = torch.tensor([float(len(row.encoding.units)) for row in rows])
        return torch.stack((words, -words), dim=1)[self.lost_rows :]

    def run(self, rows: Sequence[BatchRow]) -> BatchOutput:
        """Logits (seed, -seed), read-outs full of seeds, and reductions that peak at token number seed."""
        self._start(len(rows))
        if any(row.row.seed == self.poison for row in rows):
            message = "poisoned"
            raise ValueError(message)
        seeds = torch.tensor([float(row.row.seed) for row in rows])
        seeds[seeds == self.not_a_number] = float("nan")
        permuted = [i for i, row in enumerate(rows) if row.row.edit is AttentionEdit.PERMUTED]
        peaks = [rows[i].row.seed for i in permuted]
        return BatchOutput(
            logits=torch.stack((seeds, -seeds), dim=1)[self.lost_rows :],
            readouts=seeds.unsqueeze(1).expand(-1, WIDTH) if any(row.row.readout for row in rows) else None,
            permuted=self.spoiled(reductions(peaks, rows[0].encoding.length)) if permuted else None,
            permuted_rows=tuple(permuted),
        )

    def _start(self, rows: int) -> None:
        """Note the batch, and fail if the device would."""
        self.batches.append(rows)
        self.kept_from_before.append(any(reference() is not None for reference in self.running))
        activations = Activations()
        self.running.append(weakref.ref(activations))
        if rows > self.capacity:
            raise self.out_of_memory()
        if self.failure is not None:
            raise self.failure()

    def capture(self, encoding: Encoding, request: CaptureRequest) -> Capture:
        """Uniform reductions, or the failure."""
        if self.capacity == 0:
            raise self.out_of_memory()
        if self.failure is not None:
            raise self.failure()
        uniform = torch.full((LAYERS, encoding.length, encoding.length), 1 / encoding.length)
        logits = torch.tensor([1.0, -1.0])
        return Capture(
            logits=logits,
            state=torch.ones(WIDTH),
            decision=request.decide(logits.double().numpy()),
            attention=self.spoiled(reductions([1], encoding.length)),
            norms=uniform,
            gradients=uniform if request.maps else None,
            selected=None,
            uniform=False,
        )

    def path_gradients(self, encoding: Encoding, decision: Decision, points: Sequence[float]) -> PathGradients:  # noqa: ARG002 - the contract
        """Each token's own number times the point along the way, minus it at the point; or what `run` would raise."""
        self._start(len(points))
        numbers = torch.arange(encoding.length, dtype=torch.float32)
        along = torch.tensor(points)[:, None] * numbers
        return PathGradients(along=along, at=-along)

    def biased(self, encoding: Encoding, bias: torch.Tensor) -> BiasedAttention:
        """Attention that is the softmax of the bias, and logits that do not depend on it; or what `run` would raise."""
        self._start(len(bias))
        attended = bias.softmax(dim=-1).unsqueeze(3).expand(-1, -1, -1, encoding.length, -1)
        logits = torch.tensor([1.0, -1.0]).expand(len(bias), -1) + 0 * bias.sum()
        return BiasedAttention(logits=logits, probabilities=tuple(attended.unbind(dim=1)))

    def decompose(self, encoding: Encoding, decision: Decision) -> Decomposition:  # noqa: ARG002 - the contract
        """Each token's own number, the first two against the target; or what `run` would raise."""
        self._start(1)
        numbers = torch.arange(encoding.length, dtype=torch.float32)
        numbers[:2] *= -1
        return Decomposition(tokens=numbers, biases=torch.tensor(0.0), total=numbers.sum())

    def synthetic(self, length: int, seed: int = 0) -> Encoding:  # noqa: ARG002 - the contract
        """Words."""
        return encoding(length - 2)

    def self_test(self) -> tuple[SelfTest, ...]:
        """Nothing to prove."""
        return ()


def reductions(peaks: list[int], length: int) -> AttentionReductions:
    """All attention on one token per row."""
    rows = torch.zeros(len(peaks), length)
    rows[torch.arange(len(peaks)), torch.tensor(peaks)] = 1
    return AttentionReductions(
        fused=(rows[:, None, :].expand(-1, length, -1),) * LAYERS,
        readout=rows[:, None, None, :].expand(-1, LAYERS, HEADS, -1),
    )


def encoding(words: int) -> Encoding:
    """Words of one token each, between two special tokens."""
    numbers = np.arange(words + 2)
    units = tuple(
        Unit(text=f"w{i}", token_start=i + 1, token_end=i + 2, char_start=2 * i, char_end=2 * i + 1, segment=0)
        for i in range(words)
    )
    return Encoding(
        input_ids=numbers,
        type_ids=np.zeros_like(numbers),
        unit_of_token=np.where((numbers > 0) & (numbers <= words), numbers - 1, -1),
        units=units,
        tokens_total=words + 2,
        grouped=False,
    )


def engine_of(backend: FakeBackend) -> Engine:
    """An engine with this one backend, as the model "m"."""
    model = LoadedModel(backend=backend, family="BERT", labels=("a", "b"), digest="sha256:" + "0" * 64, self_tests=())
    return Engine(models={"m": model})
