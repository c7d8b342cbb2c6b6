"""A session of a graph whose attention is open: it shows every layer's weights, and edits them.

Shapes: B batch, E edited row, L layer, H head, Q query, K key, C class, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx_ir as ir
import torch

from rollcall.backends.observers import Block
from rollcall.backends.onnx.operators import Operators
from rollcall.backends.onnx.plain import Plain
from rollcall.backends.onnx.sessions import UNUSABLE, Session
from rollcall.backends.onnx.surgery import BLOCK_NAMES, STATE, NotOpenedError, block_names, open_attention, weights_name
from rollcall.backends.onnx.value_norms import BlockStates, blocks_of
from rollcall.backends.onnx.windows import find_windows
from rollcall.backends.plan import ExplicitRows

Tensor = torch.Tensor

PROBE_TOKENS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one run gave: `logits` [B, C], `states` [B, D] at the read-out position, `weights` [B, H, Q, K] by layer.

    `blocks`, by layer, only where they were asked for.
    """

    logits: Tensor = field(repr=False)
    states: Tensor = field(repr=False)
    weights: tuple[Tensor, ...] = field(default=(), repr=False)
    blocks: tuple[BlockStates, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """Runs an opened graph; `heads` and `width` as a probe found them. `dtype` is the precision of its attention."""

    session: Session = field(repr=False)
    logits: str
    layers: int
    heads: int
    width: int
    readout: int
    dtype: torch.dtype
    softmaxes: tuple[str, ...]
    """Names of the layers' softmax nodes."""
    expanded: int
    """Fused operators that had to be written out."""
    blocks: tuple[Block, ...] = field(default=(), repr=False)
    """What the layers do with their values; of all of them, or none, for the reason `without`."""
    without: str = ""
    windows: tuple[int | None, ...] = ()
    """How far the queries of each layer see; None is everything."""
    pooled: bool = False
    """Whether its one attention is no layer's but sums the states, as one query of one head."""

    @classmethod
    def of(cls, file: Path, plain: Plain, inputs: Mapping[str, Tensor], device: str) -> OpenSession:
        """Open a file's attention and probe it with `inputs` [B, T]; raises NotOpenedError, saying why not."""
        try:
            model = ir.load(file)
            opened = open_attention(model, plain.logits)
            content = ir.to_proto(model).SerializeToString()
            session = Session(content, folder=file.parent, device=device, called=plain.called)
            layers = len(opened.sites)
            state, *weights = session.run([STATE, *map(weights_name, range(layers))], inputs)
        except UNUSABLE as error:
            message = f"the opened graph does not run: {error}"
            raise NotOpenedError(message) from error
        length = next(iter(inputs.values())).shape[1]
        shapes = {tuple(each.shape[1:]) for each in weights}
        queries = 1 if opened.pooled else length
        if len(shapes) > 1 or weights[0].shape[2:] != (queries, length):
            message = f"layers attend in different shapes, or not from every token to every token: {sorted(shapes)}"
            raise NotOpenedError(message)
        return cls(
            session=session,
            logits=plain.logits,
            layers=layers,
            heads=weights[0].shape[1],
            width=state[0].numel(),
            readout=opened.read_out.position,
            dtype=weights[0].dtype,
            softmaxes=tuple(site.softmax.name or site.softmax.outputs[0].name or "" for site in opened.sites),
            expanded=opened.expanded,
            blocks=blocks_of(opened.blocks, device),
            without=opened.without,
            windows=(None,) * layers,
            pooled=opened.pooled,
        )

    def with_windows(self, inputs: Mapping[str, Tensor], reach: int) -> OpenSession:
        """The same that knows how far its layers see, by `inputs` longer than their `reach`; raises NotOpenedError."""
        return replace(self, windows=find_windows([each.cpu() for each in self.see(inputs).weights], reach))

    def see(self, inputs: Mapping[str, Tensor], *, weights: bool = True, blocks: bool = False) -> Seen:
        """Run rows untouched; `blocks` are shown only where there are any."""
        return self._run(inputs, {}, weights=weights, blocks=blocks)

    def edit(self, inputs: Mapping[str, Tensor], visible: Tensor, explicit: ExplicitRows, *, weights: bool) -> Seen:
        """Run rows of which the last ones are edited; tokens are `visible` [B, K]."""
        queries = 1 if self.pooled else visible.shape[1]
        operators = Operators(
            explicit=explicit,
            visible=visible,
            heads=self.heads,
            queries=queries,
            dtype=self.dtype,
            windows=self.windows,
        )
        return self._run(inputs, operators.feeds(self.layers), weights=weights)

    def run(self, inputs: Mapping[str, Tensor], operators: Mapping[str, Tensor]) -> Seen:
        """Run rows under inputs of the opened graph."""
        return self._run(inputs, operators, weights=True)

    def _run(
        self, inputs: Mapping[str, Tensor], operators: Mapping[str, Tensor], *, weights: bool, blocks: bool = False
    ) -> Seen:
        layers = range(self.layers)
        shown = [weights_name(layer) for layer in layers] if weights else []
        states_of = [name for layer in layers for name in block_names(layer)] if blocks and self.blocks else []
        names = [self.logits, STATE, *shown, *states_of]
        logits, states, *found = self.session.run(names, {**inputs, **operators})
        parts = found[len(shown) :]
        each = len(BLOCK_NAMES)
        return Seen(
            logits=logits,
            states=states.reshape(len(logits), -1),
            weights=tuple(found[: len(shown)]),
            blocks=tuple(self._block(parts[at : at + each], len(logits)) for at in range(0, len(parts), each)),
        )

    def _block(self, parts: list[Tensor], rows: int) -> BlockStates:
        """What is shown of a layer's block; its values may lie there as [B * H, K, D]."""
        values, *states = parts
        by_heads = values.reshape(rows, self.heads, *values.shape[-2:])
        return BlockStates(**dict(zip(BLOCK_NAMES, (by_heads, *states), strict=True)))
