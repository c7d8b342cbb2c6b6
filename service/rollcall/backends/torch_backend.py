"""A Hugging Face sequence classifier in torch, run with the attention hook. One thread calls `run` and `capture`.

Shapes: B batch, L layer, H head, T token, C class, D width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from transformers import PreTrainedModel

from rollcall.backends.arrangement import arrange
from rollcall.backends.attention_hook import IMPLEMENTATION, PLAN_ARGUMENT, enter_block
from rollcall.backends.base import (
    BatchOutput,
    BatchRow,
    BiasedAttention,
    Capture,
    CaptureRequest,
    Decomposition,
    Layout,
    PathGradients,
    Shape,
    variants,
)
from rollcall.backends.capturing import Capturing
from rollcall.backends.decomposition import Decomposer, FeedForward
from rollcall.backends.edits import edits_of
from rollcall.backends.embedding_gradients import EmbeddingGradients
from rollcall.backends.encoding import Encoder
from rollcall.backends.observers import Block, Keeper, Reducer
from rollcall.backends.plan import BatchPlan, ExplicitRows, Tail
from rollcall.backends.replay_test import try_replays
from rollcall.backends.replays import Call, Replays, replays_on
from rollcall.backends.self_test import SelfTester
from rollcall.backends.sharing import decomposition_error, synthetic_input, try_features
from rollcall.backends.staging import stage_rows
from rollcall.backends.tensors import Inputs, Packed
from rollcall.domain.decision import Decision, Task
from rollcall.domain.errors import ModelRejected
from rollcall.domain.inputs import Encoding, ModelInput
from rollcall.domain.maps import MapKind
from rollcall.domain.model import SelfTest
from rollcall.domain.rows import Row

Tensor = torch.Tensor

STEPS = ((128, 16), (math.inf, 32))
"""Tokens up to which rows of fixed shapes are padded to a multiple of so many."""


class TorchBackend:
    """Implements `rollcall.backends.base.Differentiable`."""

    name = "torch"
    is_counted = True
    readout = 0

    def __init__(
        self, model: PreTrainedModel, encoder: Encoder, layout: Layout, *, task: Task, takes_type_ids: bool, device: str
    ) -> None:
        """Take over a model that nobody else uses: set its attention implementation, freeze and probe it."""
        self._model = model.train(mode=False).requires_grad_(requires_grad=False).to(device)
        self._encoder = encoder
        self._takes_type_ids = takes_type_ids
        self.task = task
        self.device = device
        self.dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
        # Few shapes, so that work is recorded once for each: where launching it takes longer than doing it.
        self.fixed = device.startswith("cuda")
        self.replays = Replays(device=device)
        model.set_attn_implementation(IMPLEMENTATION)
        self._blocks = self._probe(layout)
        config: Any = model.config
        self.shape = Shape(
            layers=len(self._blocks),
            heads=int(config.num_attention_heads),
            width=int(config.hidden_size),
            classes=int(config.num_labels),
            max_tokens=encoder.max_tokens,
        )
        for module in {id(block.module): block.module for block in self._blocks}.values():
            module.register_forward_pre_hook(enter_block, with_kwargs=True)
        last = self._blocks[-1]
        self._tail = Tail(
            layer=self.shape.layers - 1, query=self.readout, heads=self.shape.heads, key=last.key, value=last.value
        )
        # How work may be shared; the self-tests decide.
        self.readout_row_suffices = self.rows_join_late = self.batch_is_neutral = False
        self.noise = torch.finfo(next(model.parameters()).dtype).eps
        self._decomposer = self._find_decomposer(layout)
        self.maps = tuple(kind for kind in MapKind if kind is not MapKind.DECOMPOSITION or self._decomposer)

    def encode(self, model_input: ModelInput) -> Encoding:
        """Tokenise and find the units; raises InvalidInput."""
        return self._encoder.encode(model_input)

    def predict(self, rows: Sequence[BatchRow]) -> Tensor:
        """Logits [B, C] of the stock model, without any hook; one row alone is bitwise the stock model's answer."""
        with torch.no_grad():
            return self.forward(self._inputs(rows, max(row.encoding.length for row in rows)))

    def run(self, rows: Sequence[BatchRow]) -> BatchOutput:
        """Run rows as one batch; rows that are permuted from the first layer on have their attention reduced.

        What it gives is good until the next call.
        """
        batch = arrange(rows, late=self.rows_join_late)
        length = self._length(batch.length)
        edits = edits_of(batch, layers=self.shape.layers, heads=self.shape.heads, readout=self.readout, length=length)
        joins = {f"join {layer}": np.array(sources, dtype=np.int64) for layer, sources in batch.joins.items()}
        packed = Packed.of(
            {
                "inputs": stage_rows(batch.started, length, self._encoder),
                "places": np.array(batch.places, dtype=np.int64),
                **joins,
                **(edits.arrays if edits else {}),
            },
            self.device,
        )
        wants_readout = any(row.row.readout for row in rows)

        def compute(tensors: Mapping[str, Tensor]) -> BatchOutput:
            reducer = Reducer(readout=self.readout, fusions=batch.fusions) if batch.fusions else None
            plan = BatchPlan(
                explicit=None if edits is None else edits.explicit(tensors),
                observer=reducer,
                joins={layer: tensors[f"join {layer}"] for layer in batch.joins},
                tail=self._tail if self.readout_row_suffices else None,
            )
            with torch.no_grad(), self._watching_readout() as states:
                logits = self.forward(Inputs.of(tensors["inputs"]), plan)
            places = tensors["places"]
            return BatchOutput(
                logits=logits[places],
                readouts=states[-1][places] if wants_readout else None,
                permuted=None if reducer is None else reducer.reductions(),
                permuted_rows=batch.permuted,
            )

        key = ("run", packed.layout, edits and edits.key, batch.fusions, batch.permuted, wants_readout)
        return self.replays.run(key, packed, compute)

    def capture(self, encoding: Encoding, request: CaptureRequest) -> Capture:
        """Run the untouched input once, observing its attention, and backwards once if a gradient is wanted.

        Where shapes are not `fixed` its logits are bitwise those of the stock model on this input alone. What it gives
        is good until the next call.
        """
        packed = self._packed(variants(encoding, [Row()]), self._length(encoding.length))
        capturing = Capturing(
            forward=self.forward,
            watching_readout=self._watching_readout,
            blocks=self._blocks,
            readout=self.readout,
            device=self.device,
            request=request,
            tokens=encoding.length,
            padded=self.fixed,
        )
        if request.attention is not None:  # whole maps, of the size of the input
            return capturing.run(Call(device=self.device), packed)
        return self.replays.attempt(("capture", packed.layout, capturing.key), lambda call: capturing.run(call, packed))

    def path_gradients(self, encoding: Encoding, decision: Decision, points: Sequence[float]) -> PathGradients:
        """Differentiate the stock model at its word embeddings; special tokens are never masked."""
        length = self._length(encoding.length)
        everything = Row(removed=np.ones(len(encoding.units), dtype=np.bool_))
        packed = Packed.of(
            {
                "inputs": stage_rows(variants(encoding, [Row()] * len(points)), length, self._encoder),
                "masked": stage_rows(variants(encoding, [everything]), length, self._encoder)[0, 0],
                "points": np.array(points, dtype=np.float64),
            },
            self.device,
        )
        words = EmbeddingGradients(
            words=self._model.get_input_embeddings(),
            # A plan of nothing: the stock model, with its mask always given.
            forward=lambda inputs: self.forward(inputs, BatchPlan() if self.fixed else None),
            device=self.device,
        )
        return self.replays.attempt(("path", packed.layout), lambda call: words.run(call, packed, decision))

    def biased(self, encoding: Encoding, bias: Tensor) -> BiasedAttention:
        """Run the input under biases [B, L, H, K] with gradients; nothing is shared, and no parameter gets one."""
        kept = Keeper()
        plan = BatchPlan(explicit=ExplicitRows(first=0, readout=self.readout, bias=bias), observer=kept)
        with torch.enable_grad():
            logits = self.forward(self._inputs(variants(encoding, [Row()] * len(bias)), encoding.length), plan)
        return BiasedAttention(logits=logits, probabilities=tuple(kept.probabilities))

    def decompose(self, encoding: Encoding, decision: Decision) -> Decomposition:
        """Decompose the logits of the untouched input; `_decomposer` was found and proved at load."""
        assert self._decomposer is not None
        return self._decomposer.decompose(self._inputs(variants(encoding, [Row()]), encoding.length), decision)

    def self_test(self) -> tuple[SelfTest, ...]:
        """Prove the hooks on these weights, on synthetic ids."""
        special = self._encoder.special
        tester = SelfTester(model=self._model, forward=self.forward, layers=self.shape.layers, special=special)
        hooks = tester.run()
        if not all(test.passed for test in hooks):
            return hooks
        close = tester.tolerances.close
        replays = replays_on(self.device)
        return (
            *hooks,
            *try_features(self, close),
            *self._try_decomposition(close),
            *([try_replays(self, replays)] if replays.recorder else []),
        )

    def synthetic(self, length: int, seed: int = 0) -> Encoding:
        """An input of random ids, to try things on; every token but the first and the last is a unit."""
        return synthetic_input(length, int(self._model.config.vocab_size), self._encoder.special, seed)

    def use_stock_attention(self) -> None:
        """Give the model back its stock attention: what failed a self-test predicts without the hook."""
        self._model.set_attn_implementation("sdpa")

    def forward(self, inputs: Inputs, plan: BatchPlan | None = None) -> Tensor:
        """Logits [B, C] of a batch under a plan; without one, the stock model bitwise."""
        mask = inputs.attention_mask
        if self.fixed and plan is not None:  # a model that looks whether anything is padded waits for the device
            mask = mask[:, None, None, :].bool().expand(-1, 1, mask.shape[1], -1)
        arguments: dict[str, object] = {"input_ids": inputs.input_ids, "attention_mask": mask}
        if self._takes_type_ids:
            arguments["token_type_ids"] = inputs.type_ids
        if plan is not None:
            arguments[PLAN_ARGUMENT] = plan
        logits: Tensor = self._model(**arguments).logits
        return logits

    def _inputs(self, rows: Sequence[BatchRow], length: int) -> Inputs:
        """Stage rows and copy them to the device at once."""
        packed = self._packed(rows, length)
        return Inputs.of(packed.views(packed.to(self.device))["inputs"])

    def _packed(self, rows: Sequence[BatchRow], length: int) -> Packed:
        return Packed.of({"inputs": stage_rows(rows, length, self._encoder)}, self.device)

    def _length(self, tokens: int) -> int:
        """How long rows of so many tokens are made."""
        if not self.fixed:
            return tokens
        step = next(step for most, step in STEPS if tokens <= most)
        return min(-(-tokens // step) * step, self.shape.max_tokens)

    @contextmanager
    def _watching_readout(self) -> Iterator[list[Tensor]]:
        """Collect the encoder's last hidden state at the read-out position, which may be the only one."""
        states: list[Tensor] = []

        def remember(_: torch.nn.Module, __: object, output: Mapping[str, Tensor]) -> None:
            last = output["last_hidden_state"]
            states.append(last[:, self.readout if last.shape[1] > 1 else 0])

        hook = self._model.base_model.register_forward_hook(remember)
        try:
            yield states
        finally:
            hook.remove()

    def _probe(self, layout: Layout) -> tuple[Block, ...]:
        """Find the blocks in the order in which their attention is called in one forward."""
        names = {module: name for name, module in self._model.named_modules()}
        probe = _Probe()
        cls, sep = self._encoder.special
        ids = torch.tensor([[cls, sep]], device=self.device)
        with torch.no_grad():
            self.forward(
                Inputs(input_ids=ids, attention_mask=torch.ones_like(ids), type_ids=torch.zeros_like(ids)), probe
            )
        if not probe.modules:
            message = (
                "the attention hook was never called: this architecture does not go through the attention interface"
            )
            raise ModelRejected(message)
        return tuple(self._block(names[module], layout) for module in probe.modules)

    def _find_decomposer(self, layout: Layout) -> Decomposer | None:
        """What takes the logits apart, if this model has its parts where the family says."""
        if not all((layout.feed_in, layout.feed_out, layout.head_in, layout.head_out)):
            return None

        def feed(root: torch.nn.Module, into: str, out: str) -> FeedForward:
            linear = torch.nn.Linear
            return FeedForward(
                into=_typed(root.get_submodule(into), linear), out=_typed(root.get_submodule(out), linear)
            )

        try:
            feeds = tuple(feed(block.module, layout.feed_in, layout.feed_out) for block in self._blocks)
            head = feed(self._model, layout.head_in, layout.head_out)
        except (AttributeError, ModelRejected):  # a head or a block of another making
            return None
        return Decomposer(
            blocks=self._blocks,
            feeds=feeds,
            head=head,
            readout=self.readout,
            forward=self.forward,
        )

    def _try_decomposition(self, close: float) -> tuple[SelfTest, ...]:
        """Whether the parts of the logits sum to the logits; if not, the map is not offered."""
        if self._decomposer is None:
            return ()
        error = decomposition_error(self, close)
        if not error.passed:
            self._decomposer = None
            self.maps = tuple(kind for kind in self.maps if kind is not MapKind.DECOMPOSITION)
        return (error,)

    def _block(self, attention: str, layout: Layout) -> Block:
        if not attention.endswith(layout.attention):
            message = f"attention was called from {attention}, not from a module named {layout.attention}"
            raise ModelRejected(message)
        prefix = attention.removesuffix(layout.attention)
        find = self._model.get_submodule
        return Block(
            module=find(prefix.removesuffix(".")),
            attention=find(attention),
            key=_typed(find(prefix + layout.key), torch.nn.Linear),
            value=_typed(find(prefix + layout.value), torch.nn.Linear),
            out_projection=_typed(find(prefix + layout.out_projection), torch.nn.Linear),
            first_norm=_typed(find(prefix + layout.first_norm), torch.nn.LayerNorm),
            second_norm=_typed(find(prefix + layout.second_norm), torch.nn.LayerNorm),
        )


@dataclass(slots=True, kw_only=True)
class _Probe(BatchPlan):
    """A plan that changes nothing and remembers which module called, in order."""

    modules: list[torch.nn.Module] = field(default_factory=list)

    def attend(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> tuple[Tensor, None]:  # noqa: ANN401 - passed on whole
        """Remember the module."""
        self.modules.append(module)
        return BatchPlan.attend(self, module, *args, **kwargs)


Submodule = TypeVar("Submodule", bound=torch.nn.Module)


def _typed(module: torch.nn.Module, kind: type[Submodule]) -> Submodule:
    if not isinstance(module, kind):
        message = f"expected {kind.__name__}, found {type(module).__name__}"
        raise ModelRejected(message)
    return module
