"""A Hugging Face sequence classifier in torch, run with the attention hook. One thread calls `run` and `capture`.

Shapes: B batch, L layer, H head, T token, C class, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from transformers import PreTrainedModel

from rollcall.backends.attention_hook import IMPLEMENTATION, PLAN_ARGUMENT
from rollcall.backends.base import BatchOutput, Capture, CaptureRequest, Layout, Shape
from rollcall.backends.encoding import Encoder
from rollcall.backends.observers import Block, CaptureObserver, Reducer
from rollcall.backends.plan import BatchPlan, Blend, LayerEdit, MapSource, Permutation
from rollcall.backends.self_test import SelfTester
from rollcall.backends.tensors import Inputs, select_attention
from rollcall.domain.decision import Task
from rollcall.domain.errors import ModelRejected
from rollcall.domain.inputs import Encoding, ModelInput
from rollcall.domain.maps import MapKind, MapOptions
from rollcall.domain.model import SelfTest
from rollcall.domain.rows import AttentionEdit, RemovalOperator, Row
from rollcall.domain.seeds import random_permutations

Tensor = torch.Tensor


class TorchBackend:
    """Implements `rollcall.backends.base.Backend`."""

    name = "torch"
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
        model.set_attn_implementation(IMPLEMENTATION)
        self._blocks = self._probe(layout)
        config: Any = model.config
        self.shape = Shape(
            layers=len(self._blocks),
            heads=int(config.num_attention_heads),
            classes=int(config.num_labels),
            max_tokens=encoder.max_tokens,
        )

    def encode(self, model_input: ModelInput) -> Encoding:
        """Tokenise and find the units; raises InvalidInput."""
        return self._encoder.encode(model_input)

    def run(self, encoding: Encoding, rows: list[Row], options: MapOptions) -> BatchOutput:
        """Run rows of one input as one batch; permuted rows have their attention reduced."""
        plan, reducer = self._plan(encoding, rows, options)
        with torch.no_grad(), self._watching_readout() as readouts:
            logits = self.forward(self._inputs(encoding, rows), plan)
        return BatchOutput(
            logits=logits,
            readouts=readouts[-1] if any(row.readout for row in rows) else None,
            permuted=None if reducer is None else reducer.reductions(),
        )

    def capture(self, encoding: Encoding, request: CaptureRequest) -> Capture:
        """Run the untouched input with explicit attention, once, and backwards once if a gradient is wanted."""
        want_gradient = MapKind.GRADIENT_ROLLOUT in request.maps
        observer = CaptureObserver(
            reducer=Reducer(rows=self._index([0]), readout=self.readout, fusion=request.options.rollout_fusion),
            blocks=self._blocks if MapKind.NORM_ROLLOUT in request.maps else (),
            keep_probabilities=want_gradient or request.attention is not None,
        )
        plan = BatchPlan(observer=observer, explicit=True)
        with torch.set_grad_enabled(want_gradient), observer.watching_inputs():
            logits = self.forward(self._inputs(encoding, [Row()]), plan)
            gradients = self._gradients(logits, observer.probabilities, request) if want_gradient else None
        kept = [layer.detach()[0] for layer in observer.probabilities]
        return Capture(
            attention=observer.reducer.reductions(),
            norms=torch.stack(observer.norms) if observer.norms else None,
            gradients=gradients,
            selected=None if request.attention is None else select_attention(kept, request.attention, self.readout),
            uniform=observer.uniform,
        )

    def self_test(self) -> tuple[SelfTest, ...]:
        """Prove the hooks on these weights, on synthetic ids."""
        return SelfTester(
            model=self._model, forward=self.forward, layers=self.shape.layers, special=self._special_ids()
        ).run()

    def use_stock_attention(self) -> None:
        """Give the model back its stock attention: what failed a self-test predicts without the hook."""
        self._model.set_attn_implementation("sdpa")

    def forward(self, inputs: Inputs, plan: BatchPlan | None = None) -> Tensor:
        """Logits [B, C] of a batch under a plan; without one, the stock model bitwise."""
        arguments: dict[str, object] = {"input_ids": inputs.input_ids, "attention_mask": inputs.attention_mask}
        if self._takes_type_ids:
            arguments["token_type_ids"] = inputs.type_ids
        if plan is not None:
            arguments[PLAN_ARGUMENT] = plan
        logits: Tensor = self._model(**arguments).logits
        return logits

    def _gradients(self, logits: Tensor, probabilities: list[Tensor], request: CaptureRequest) -> Tensor:
        """Mean over heads of relu(gradient of the margin * attention), [L, Q, K]."""
        if not logits.requires_grad:  # the answer does not depend on attention at all
            return torch.zeros_like(torch.stack([p.detach().mean(dim=1)[0] for p in probabilities]))
        direction = request.decision.gradient(logits[0].detach().double().cpu().numpy())
        seed = torch.as_tensor(direction, dtype=logits.dtype, device=logits.device).unsqueeze(0)
        gradients = torch.autograd.grad(
            logits, probabilities, grad_outputs=seed, allow_unused=True, materialize_grads=True
        )
        with torch.no_grad():
            return torch.stack([(g * p).relu().mean(dim=1)[0] for g, p in zip(gradients, probabilities, strict=True)])

    def _inputs(self, encoding: Encoding, rows: list[Row]) -> Inputs:
        ids = np.tile(encoding.input_ids, (len(rows), 1))
        visible = np.ones_like(ids)
        for i, row in enumerate(rows):
            if row.removed is None:
                continue
            tokens = encoding.tokens_of(row.removed)
            if row.operator is RemovalOperator.MASK_TOKEN:
                ids[i, tokens] = self._encoder.removal_token
            else:
                visible[i, tokens] = 0
        types = torch.from_numpy(encoding.type_ids).to(self.device).expand(len(rows), -1)
        return Inputs(
            input_ids=torch.from_numpy(ids).to(self.device),
            attention_mask=torch.from_numpy(visible).to(self.device),
            type_ids=types,
        )

    def _plan(
        self, encoding: Encoding, rows: list[Row], options: MapOptions
    ) -> tuple[BatchPlan | None, Reducer | None]:
        by_edit = {edit: [i for i, row in enumerate(rows) if row.edit is edit] for edit in AttentionEdit}
        identity, uniform, permuted = (
            by_edit[e] for e in (AttentionEdit.IDENTITY, AttentionEdit.UNIFORM, AttentionEdit.PERMUTED)
        )
        if not (identity or uniform or permuted):
            return None, None
        blends = tuple(
            Blend(rows=self._index(selected), gate=1.0, source=source)
            for selected, source in ((identity, MapSource.OWN), (uniform, MapSource.UNIFORM))
            if selected
        )
        orders = self._orders([rows[i].seed for i in permuted], encoding.length) if permuted else None
        index = self._index(permuted)
        edits = {
            layer: LayerEdit(
                blends=blends,
                permutation=None if orders is None else Permutation(rows=index, order=orders[:, layer]),
            )
            for layer in range(self.shape.layers)
        }
        reducer = Reducer(rows=index, readout=self.readout, fusion=options.rollout_fusion) if permuted else None
        return BatchPlan(edits=edits, observer=reducer), reducer

    def _orders(self, seeds: list[int], length: int) -> Tensor:
        """Independent key permutations [P, L, H, K], one set per seed."""
        shape = (self.shape.layers, self.shape.heads, length)
        return torch.from_numpy(np.stack([random_permutations(seed, "keys", shape) for seed in seeds])).to(self.device)

    def _index(self, rows: list[int]) -> Tensor:
        return torch.tensor(rows, dtype=torch.long, device=self.device)

    def _special_ids(self) -> tuple[int, int]:
        tokenizer = self._encoder.tokenizer
        return int(tokenizer.cls_token_id), int(tokenizer.sep_token_id)

    @contextmanager
    def _watching_readout(self) -> Iterator[list[Tensor]]:
        """Collect the encoder's last hidden state at the read-out position."""
        states: list[Tensor] = []

        def remember(_: torch.nn.Module, __: object, output: Mapping[str, Tensor]) -> None:
            states.append(output["last_hidden_state"][:, self.readout])

        hook = self._model.base_model.register_forward_hook(remember)
        try:
            yield states
        finally:
            hook.remove()

    def _probe(self, layout: Layout) -> tuple[Block, ...]:
        """Find the blocks in the order in which their attention is called in one forward."""
        names = {module: name for name, module in self._model.named_modules()}
        probe = _Probe()
        cls, sep = self._special_ids()
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

    def _block(self, attention: str, layout: Layout) -> Block:
        if not attention.endswith(layout.attention):
            message = f"attention was called from {attention}, not from a module named {layout.attention}"
            raise ModelRejected(message)
        prefix = attention.removesuffix(layout.attention)
        find = self._model.get_submodule
        return Block(
            attention=find(attention),
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
