"""A Hugging Face classifier in torch, run with the attention hook. One thread calls `run` and `capture`.

`TorchClassifier` is all of it but for what an input is; `TorchBackend` reads texts, `word_backend` words in them,
`image_backend` pictures and `prompt_backend` what comes before a token.

Shapes: B batch, L layer, H head, T token, C class, D width.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
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
    readout_of,
    variants,
)
from rollcall.backends.capturing import Capturing
from rollcall.backends.decomposition import Decomposer, FeedForward
from rollcall.backends.edits import edits_of
from rollcall.backends.embedding_gradients import EmbeddingGradients
from rollcall.backends.encoding import Encoder
from rollcall.backends.observers import Block, Keeper, Reducer
from rollcall.backends.plan import BatchPlan, ExplicitRows, Tail
from rollcall.backends.readout import Readout, of_rows, read
from rollcall.backends.replay_test import try_replays
from rollcall.backends.replays import Call, Replays, replays_on
from rollcall.backends.self_test import SelfTester, Trial, padded_pair, trial_lengths
from rollcall.backends.sharing import decomposition_error, synthetic_input, try_features
from rollcall.backends.staging import stage_rows
from rollcall.backends.stock_attention import window
from rollcall.backends.tapping import modules_in_order, tapped
from rollcall.backends.tensors import AnyInputs, Inputs, Packed
from rollcall.domain.decision import Decision, Task
from rollcall.domain.errors import ModelRejected
from rollcall.domain.inputs import Encoding, ModelInput
from rollcall.domain.maps import MapKind
from rollcall.domain.model import SelfTest
from rollcall.domain.rows import Row

Tensor = torch.Tensor

POST_NORM = 2
"""Norms of a block whose logits can be decomposed."""
STEPS = ((128, 16), (math.inf, 32))
"""Tokens up to which rows of fixed shapes are padded to a multiple of so many."""


class TorchClassifier(ABC):
    """Implements `rollcall.backends.base.Differentiable`."""

    name = "torch"
    is_counted = True
    readout = 0
    constant: Mapping[str, object] = MappingProxyType({})
    """Arguments of every forward."""
    fixed_length = causal = False
    """Whether all inputs have the same number of tokens; whether each of them sees those before it alone."""
    may_be_fixed = False
    """Whether rows may be padded behind, with the mask given as a whole, so that there are few shapes."""

    def __init__(
        self,
        model: PreTrainedModel,
        layout: Layout,
        *,
        max_tokens: int,
        task: Task,
        device: str,
        classes: int | None = None,
    ) -> None:
        """Take over a model that nobody else uses: set its attention implementation, freeze and probe it."""
        self._model = model.train(mode=False).requires_grad_(requires_grad=False).to(device)
        self.task = task
        self.device = device
        self.dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
        self.fixed = False
        self.replays = Replays(device=device)
        self._layout = layout
        if not layout.tapped:
            model.set_attn_implementation(IMPLEMENTATION)
        self._blocks = self._probe(layout)
        self.reach = max((window(block.attention) or 0 for block in self._blocks), default=0)
        # Few shapes, so that work is recorded once for each: where launching it takes longer than doing it. A mask that
        # is given as a whole would take the place of those that the library makes of a window.
        self.fixed = self.may_be_fixed and not (self.reach or layout.tapped) and device.startswith("cuda")
        config: Any = model.config
        encoder = layout.config_of(config)
        self.shape = Shape(
            layers=len(self._blocks),
            heads=int(encoder.num_attention_heads),
            width=int(encoder.hidden_size),
            classes=int(config.num_labels) if classes is None else classes,
            max_tokens=max_tokens,
            fixed_length=self.fixed_length,
            causal=self.causal,
        )
        for module in {id(block.module): block.module for block in self._blocks}.values():
            module.register_forward_pre_hook(enter_block, with_kwargs=True)
        last = self._blocks[-1]
        self._tail: Tail | None = None
        if last.key is not None and last.value is not None:
            self._tail = Tail(
                layer=self.shape.layers - 1,
                query=self.readout,
                heads=self.shape.heads,
                key=last.key,
                value=last.value,
                norm=last.input_norm,
            )
        # How work may be shared; the self-tests decide.
        self.readout_row_suffices = self.rows_join_late = self.batch_is_neutral = False
        self.noise = torch.finfo(next(model.parameters()).dtype).eps
        self._decomposer = self._find_decomposer(layout)
        without = set() if self._decomposer else {MapKind.DECOMPOSITION}
        without |= {MapKind.NORM_ROLLOUT} if last.out_projection is None else set()
        self.maps = tuple(kind for kind in MapKind if kind not in without)

    @abstractmethod
    def encode(self, model_input: ModelInput) -> Encoding:
        """Turn an input into what the model reads, and find the units; raises InvalidInput."""

    @abstractmethod
    def synthetic(self, length: int, seed: int = 0) -> Encoding:
        """An input of random content, to try things on."""

    @abstractmethod
    def trial(self) -> Trial:
        """What the self-test runs on."""

    @abstractmethod
    def _staged(self, rows: Sequence[BatchRow], length: int) -> dict[str, npt.NDArray[Any]]:
        """Rows as arrays, by names that nothing else of a batch has."""

    @abstractmethod
    def _see(self, tensors: Mapping[str, Tensor]) -> AnyInputs:
        """The same on the device, as a batch."""

    @abstractmethod
    def _arguments(self, inputs: AnyInputs) -> dict[str, Tensor]:
        """A batch as the model's forward calls its parts."""

    def predict(self, rows: Sequence[BatchRow]) -> Tensor:
        """Logits [B, C] of the stock model, without any edit; good until the next call.

        Where shapes are not `fixed`, one row alone is bitwise the stock model's answer.
        """
        packed = self._packed(rows, self._length(max(row.encoding.length for row in rows)))

        def compute(tensors: Mapping[str, Tensor]) -> Tensor:
            with torch.no_grad():
                return self._untouched(self._see(tensors))

        return self.replays.run(("predict", packed.layout), packed, compute)

    def run(self, rows: Sequence[BatchRow]) -> BatchOutput:
        """Run rows as one batch; rows that are permuted from the first layer on have their attention reduced.

        What it gives is good until the next call.
        """
        if self.readout_row_suffices and self._tail is None:
            message = "the last layer cannot be computed for one query alone"
            raise ValueError(message)
        batch = arrange(rows, late=self.rows_join_late)
        length = self._length(batch.length)
        edits = edits_of(batch, layers=self.shape.layers, heads=self.shape.heads, readout=self.readout, length=length)
        joins = {f"join {layer}": np.array(sources, dtype=np.int64) for layer, sources in batch.joins.items()}
        packed = Packed.of(
            {
                **self._staged(batch.started, length),
                "places": np.array(batch.places, dtype=np.int64),
                **joins,
                **(edits.arrays if edits else {}),
            },
            self.device,
        )
        wants_readout = any(row.row.readout for row in rows)

        def compute(tensors: Mapping[str, Tensor]) -> BatchOutput:
            inputs = self._see(tensors)
            readout = self._readouts(inputs)
            observed = slice(batch.first_edited, batch.first_edited + len(batch.fusions))
            reducer = Reducer(readout=of_rows(readout, observed), fusions=batch.fusions) if batch.fusions else None
            plan = BatchPlan(
                explicit=None if edits is None else edits.explicit(tensors),
                observer=reducer,
                joins={layer: tensors[f"join {layer}"] for layer in batch.joins},
                tail=replace(self._tail, query=readout) if self.readout_row_suffices and self._tail else None,
            )
            with torch.no_grad(), self._watching_readout(plan, readout) as states:
                logits = self.forward(inputs, plan)
            places = tensors["places"]
            return BatchOutput(
                logits=logits[places],
                readouts=states[-1][places] if wants_readout else None,
                permuted=None if reducer is None else reducer.reductions(),
                permuted_rows=batch.permuted,
            )

        switches = self.readout_row_suffices, wants_readout
        key = ("run", packed.layout, edits and edits.key, batch.fusions, batch.permuted, switches)
        return self.replays.run(key, packed, compute)

    def capture(self, encoding: Encoding, request: CaptureRequest) -> Capture:
        """Run the untouched input once, observing its attention, and backwards once if a gradient is wanted.

        Where shapes are not `fixed` its logits are bitwise those of the stock model on this input alone. What it gives
        is good until the next call.
        """
        packed = self._packed(variants(encoding, [Row()]), self._length(encoding.length))
        capturing = Capturing(
            forward=self.forward,
            see=self._see,
            watching_readout=self._watching_readout,
            blocks=self._blocks,
            readouts=self._readouts,
            readout=readout_of(self, encoding),
            device=self.device,
            request=request,
            tokens=encoding.length,
            padded=self.fixed,
        )
        if request.attention is not None:  # whole maps, of the size of the input
            return capturing.run(Call(device=self.device), packed)
        return self.replays.attempt(("capture", packed.layout, capturing.key), lambda call: capturing.run(call, packed))

    def path_gradients(self, encoding: Encoding, decision: Decision, points: Sequence[float]) -> PathGradients:
        """Differentiate the stock model at its embeddings of words or patches; special tokens are never masked."""
        length = self._length(encoding.length)
        everything = Row(removed=np.ones(len(encoding.units), dtype=np.bool_), operator=encoding.removals.usual[0])
        rows = variants(encoding, [*[Row()] * len(points), everything])
        arrays = {**self._staged(rows, length), "points": np.array(points, dtype=np.float64)}
        packed = Packed.of(arrays, self.device)
        words = EmbeddingGradients(
            words=self._layout.embedder_of(self._model),
            forward=self._untouched,
            see=self._see,
            device=self.device,
            tokens=length,
        )
        return self.replays.attempt(("path", packed.layout), lambda call: words.run(call, packed, decision))

    def biased(self, encoding: Encoding, bias: Tensor) -> BiasedAttention:
        """Run the input under biases [B, L, H, K] with gradients; nothing is shared, and no parameter gets one."""
        kept = Keeper()
        plan = BatchPlan(explicit=ExplicitRows(first=0, bias=bias), observer=kept)
        with torch.enable_grad():
            logits = self.forward(self._inputs(variants(encoding, [Row()] * len(bias)), encoding.length), plan)
        return BiasedAttention(logits=logits, probabilities=tuple(kept.probabilities))

    def decompose(self, encoding: Encoding, decision: Decision) -> Decomposition:
        """Decompose the logits of the untouched input; `_decomposer` was found and proved at load."""
        assert self._decomposer is not None
        inputs = self._inputs(variants(encoding, [Row()]), encoding.length)
        return self._decomposer.decompose(inputs, decision, readout_of(self, encoding))

    def self_test(self) -> tuple[SelfTest, ...]:
        """Prove the hooks on these weights, on synthetic inputs."""
        trial = self.trial()
        tester = SelfTester(
            model=self._model,
            forward=self.forward,
            arguments=self._arguments,
            layers=self.shape.layers,
            trial=trial,
            readout=self._readouts(trial.batch),
            layout=self._layout,
            heads=self.shape.heads,
            apart=self.causal or self._layout.tapped or self.reach > 0,
        )
        hooks = tester.run()
        if not all(test.passed for test in hooks):
            return hooks
        close = tester.tolerances.close
        replays = replays_on(self.device)
        return (
            *hooks,
            *try_features(self, close),
            *self._try_decomposition(close),
            *([try_replays(self, replays)] if replays.recorder and self.fixed else []),
        )

    def use_stock_attention(self) -> None:
        """Give the model back its stock attention: what failed a self-test predicts without the hook."""
        if not self._layout.tapped:
            self._model.set_attn_implementation(self._layout.stock)

    def forward(self, inputs: AnyInputs, plan: BatchPlan | None = None) -> Tensor:
        """Logits [B, C] of a batch under a plan; without one, the stock model bitwise."""
        arguments: dict[str, object] = {**self._arguments(inputs), **self.constant}
        if self.fixed and plan is not None:  # a model that looks whether anything is padded waits for the device
            mask = inputs.attention_mask
            arguments["attention_mask"] = mask[:, None, None, :].bool().expand(-1, 1, mask.shape[1], -1)
        if plan is not None and self._layout.tapped:
            with tapped(plan, self._blocks, inputs.attention_mask, self.shape.heads):
                return self._answer(self._model(**arguments).logits, self._readouts(inputs))
        if plan is not None:
            arguments[PLAN_ARGUMENT] = plan
        logits = self._model(**arguments).logits
        readout = self._readouts(inputs)
        return self._answer(logits, readout if plan is None else plan.of_rows(readout))

    def _untouched(self, inputs: AnyInputs) -> Tensor:
        """Logits of the stock model; where shapes are fixed under a plan of nothing, so that the mask is whole."""
        return self.forward(inputs, BatchPlan() if self.fixed else None)

    def _readouts(self, inputs: AnyInputs) -> Readout:  # noqa: ARG002 - others read each row at a place of its own
        """Where each row is read."""
        return self.readout

    def _answer(self, logits: Tensor, readout: Readout) -> Tensor:  # noqa: ARG002 - likewise
        """Logits [B, C] of the classes, of what the model gives; `readout` is that of each row that there is now."""
        return logits

    def _inputs(self, rows: Sequence[BatchRow], length: int) -> AnyInputs:
        """Stage rows and copy them to the device at once."""
        packed = self._packed(rows, length)
        return self._see(packed.views(packed.to(self.device)))

    def _packed(self, rows: Sequence[BatchRow], length: int) -> Packed:
        return Packed.of(self._staged(rows, length), self.device)

    def _length(self, tokens: int) -> int:
        """How long rows of so many tokens are made."""
        if not self.fixed or self.fixed_length:
            return tokens
        step = next(step for most, step in STEPS if tokens <= most)
        return min(-(-tokens // step) * step, self.shape.max_tokens)

    @contextmanager
    def _watching_readout(self, plan: BatchPlan, readout: Readout) -> Iterator[list[Tensor]]:
        """Collect the encoder's last hidden state where each row is read, which may be the only position.

        `readout` is that of the rows at the start of the forward under `plan`.
        """
        states: list[Tensor] = []

        def remember(_: torch.nn.Module, __: object, output: Mapping[str, Tensor]) -> None:
            states.append(read(output["last_hidden_state"], plan.of_rows(readout))[:, 0])

        hook = self._layout.encoder_of(self._model).register_forward_hook(remember)
        try:
            yield states
        finally:
            hook.remove()

    def _probe(self, layout: Layout) -> tuple[Block, ...]:
        """Find the blocks in the order in which their attention is called in one forward."""
        names = {module: name for name, module in self._model.named_modules()}
        probe = _Probe()
        shortest = self.synthetic(2)
        called, watching = probe.modules, ExitStack()
        if layout.tapped:
            watching, called = modules_in_order(self._model, layout.attention)
        with torch.no_grad(), watching:
            inputs = self._inputs(variants(shortest, [Row()]), shortest.length)
            self.forward(inputs, None if layout.tapped else probe)
        if not called:
            message = (
                "the attention hook was never called: this architecture does not go through the attention interface"
            )
            raise ModelRejected(message)
        return tuple(self._block(names[module], layout) for module in called)

    def _find_decomposer(self, layout: Layout) -> Decomposer | None:
        """What takes the logits apart, if this model has its parts where the family says."""
        if len(layout.norms) != POST_NORM or not all((layout.feed_in, layout.feed_out, layout.head_out)):
            return None

        def linear(root: torch.nn.Module, path: str) -> torch.nn.Linear:
            return _typed(root.get_submodule(path), torch.nn.Linear)

        def feed(root: torch.nn.Module, into: str, out: str) -> FeedForward:
            return FeedForward(into=linear(root, into), out=linear(root, out))

        try:
            feeds = tuple(feed(block.module, layout.feed_in, layout.feed_out) for block in self._blocks)
            head = (
                feed(self._model, layout.head_in, layout.head_out)
                if layout.head_in
                else linear(self._model, layout.head_out)
            )
        except (AttributeError, ModelRejected):  # a head or a block of another making
            return None
        return Decomposer(
            blocks=self._blocks,
            feeds=feeds,
            head=head,
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

        def linear(path: str) -> torch.nn.Linear | None:
            return _typed(find(prefix + path), torch.nn.Linear) if path else None

        return Block(
            module=find(prefix.removesuffix(".")),
            attention=find(attention),
            key=linear(layout.key),
            value=linear(layout.value),
            out_projection=linear(layout.out_projection),
            norms=tuple(_typed(find(prefix + norm), torch.nn.LayerNorm) for norm in layout.norms),
            input_norm=_typed(find(prefix + layout.input_norm), torch.nn.LayerNorm) if layout.input_norm else None,
            gain=self._model.get_parameter(prefix + layout.gain) if layout.gain else None,
        )


class TorchBackend(TorchClassifier):
    """A classifier of texts."""

    may_be_fixed = True

    def __init__(
        self, model: PreTrainedModel, encoder: Encoder, layout: Layout, *, task: Task, takes_type_ids: bool, device: str
    ) -> None:
        """Take over a model that nobody else uses, with its tokenizer."""
        self._encoder = encoder
        self._takes_type_ids = takes_type_ids
        super().__init__(model, layout, max_tokens=encoder.max_tokens, task=task, device=device)

    def encode(self, model_input: ModelInput) -> Encoding:
        """Tokenise and find the units; raises InvalidInput."""
        return self._encoder.encode(model_input)

    def synthetic(self, length: int, seed: int = 0) -> Encoding:
        """An input of random ids, to try things on; every token but the first and the last is a unit."""
        return synthetic_input(length, int(self._model.config.vocab_size), self._encoder.special, seed)

    def trial(self) -> Trial:
        """Two rows of synthetic ids, the second one padded."""
        lengths = trial_lengths(self.reach, self.shape.max_tokens)
        return padded_pair(self._model.config, self._encoder.special, self.device, lengths)

    def _staged(self, rows: Sequence[BatchRow], length: int) -> dict[str, npt.NDArray[Any]]:
        return {"inputs": stage_rows(rows, length, self._encoder)}

    def _see(self, tensors: Mapping[str, Tensor]) -> Inputs:
        return Inputs.of(tensors["inputs"])

    def _inputs(self, rows: Sequence[BatchRow], length: int) -> Inputs:
        packed = self._packed(rows, length)
        return self._see(packed.views(packed.to(self.device)))

    def _arguments(self, inputs: AnyInputs) -> dict[str, Tensor]:
        assert isinstance(inputs, Inputs)
        arguments = {"input_ids": inputs.input_ids, "attention_mask": inputs.attention_mask}
        return {**arguments, "token_type_ids": inputs.type_ids} if self._takes_type_ids else arguments


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
