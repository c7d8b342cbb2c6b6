"""The tests that an opened graph goes through when it is loaded, on synthetic ids, against the file as it is.

Two rows of different length in one padded batch. A graph that fails one is not trusted with its attention.

Shapes: B batch, L layer, H head, Q query, K key, T token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf

import torch

from rollcall.backends.onnx.open_session import OpenSession, Seen
from rollcall.backends.onnx.surgery import EDITED, bias_name, keep_name, map_name
from rollcall.backends.onnx.value_norms import block_error
from rollcall.backends.onnx.windows import seen_within
from rollcall.backends.plan import ExplicitRows
from rollcall.backends.self_test import LENGTHS, at_least, at_most
from rollcall.backends.stock_attention import among_visible
from rollcall.backends.tensors import TOLERANCES, largest_gap, worst
from rollcall.domain.model import SelfTest

Tensor = torch.Tensor
Inputs = dict[str, Tensor]

HIDDEN = 2
"""The token that tests hide."""
FOUND = "attention_found"
NEUTRAL = "neutral_is_original"
BLOCKS = "blocks_make_the_states"
EXACT = {torch.float32: 1e-5, torch.float64: 1e-5, torch.float16: 5e-3}
"""Largest error of a sum of weights; a graph in half precision gives them in half precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxSelfTester:
    """Runs the tests. `plain` gives logits [B, C] of the file as it is; `inputs` [B, T] are two rows of LENGTHS."""

    plain: Callable[[Inputs], Tensor]
    opened: OpenSession
    inputs: Inputs = field(repr=False)
    visible: Tensor = field(repr=False)
    """Which tokens attention is over [B, T]."""

    def run(self) -> tuple[SelfTest, ...]:
        """All tests, in order."""
        original, seen = self.plain(self.inputs), self.opened.see(self.inputs)
        scale = max(1.0, float(original.abs().max()))
        tolerances = TOLERANCES[self.opened.dtype]
        close, exact = tolerances.close, EXACT[self.opened.dtype]
        # A query of padding may see nothing at all, and what is made of that is no matter.
        own = [each[row, :, : LENGTHS[row]].float() for each in seen.weights for row in range(len(LENGTHS))]
        padded = worst(float(each[:, :, LENGTHS[1] :].abs().max()) for each in own[1::2])
        sums = worst(float((each.sum(dim=-1) - 1).abs().max()) for each in own)
        uniform = self._edited(first=1, uniform=torch.ones(1, self.opened.layers, dtype=torch.bool))
        shifts = (uniform.states - seen.states).abs().amax(dim=1) / (float(seen.states.abs().max()) or 1.0)
        tests = (
            at_most("rows_sum_to_one", sums, exact, "Largest error of a row's sum is"),
            at_most("masked_keys_are_zero", padded, 0, "Largest weight on a masked key is"),
            at_most(
                NEUTRAL,
                largest_gap(seen.logits, original) / scale,
                close,
                "With attention open logits differ from the file's, relatively, by",
            ),
            at_most(
                "own_map_reproduces", self._replaced(seen, seen) / scale, close, "Own maps put back change logits by"
            ),
            at_most(
                "permutation_is_replacement",
                self._permuted() / scale,
                close,
                "Keys permuted and permuted maps put in differ by",
            ),
            self._hidden(scale, close),
            at_least(
                "uniform_changes_state",
                float(shifts[1]),
                tolerances.visible,
                "Uniform attention changes the read-out state, relatively, by",
            ),
            at_most("rows_are_isolated", float(shifts[0]), close, "An edit of one row changes another row's state by"),
        )
        # What fails one is not explained by its attention, but still by its words.
        return tuple(replace(test, required=False) for test in tests)

    def _edited(self, **edits: Tensor | int | dict[int, Tensor]) -> Seen:
        explicit = ExplicitRows(**edits)  # type: ignore[arg-type] # named as its fields
        return self.opened.edit(self.inputs, self.visible, explicit, weights=True)

    def _replaced(self, source: Seen, expected: Seen) -> float:
        """Put maps in the place of the layers' own."""
        nothing = torch.zeros(1, 1, 1, 1)
        operators = {EDITED: torch.tensor(True)}  # noqa: FBT003 - torch's own
        for layer, weights in enumerate(source.weights):
            operators |= {keep_name(layer): nothing, map_name(layer): weights}
        return largest_gap(self.opened.run(self.inputs, operators).logits, expected.logits)

    def _permuted(self) -> float:
        """Permute the keys of the first row, which has no padding."""
        heads, length = self.opened.heads, LENGTHS[0]
        drawn = [torch.randperm(length, generator=torch.Generator().manual_seed(head)) for head in range(heads)]
        kept = torch.arange(length).expand(heads, length)
        orders = dict.fromkeys(range(self.opened.layers), torch.stack((torch.stack(drawn), kept)))
        permuted = self._edited(first=0, orders=orders)
        # In the first layer, whose input no edit has touched, weights only change places.
        own, moved = self.opened.see(self.inputs).weights[0], permuted.weights[0]
        seen = seen_within(self.opened.windows[0], self.visible)
        order = orders[0].unsqueeze(2) if seen is None else among_visible(orders[0], seen)
        return worst((largest_gap(moved, own.gather(3, order.expand_as(own))), self._replaced(permuted, permuted)))

    def _hidden(self, scale: float, close: float) -> SelfTest:
        if self.opened.pooled:  # whose mask may hide nothing, or more
            says = "Knock-out by bias and by what is left of the weights differ by"
            return at_most("key_bias_is_replacement", self._left() / scale, close, says)
        return at_most(
            "key_bias_is_mask", self._knocked_out() / scale, close, "Knock-out by bias and by mask differ by"
        )

    def _left(self) -> float:
        """Hide a key from every row by a bias, and by putting in what is left of the weights, renormalised."""
        own = self.opened.see(self.inputs).weights[0].clone()
        own[..., HIDDEN] = 0
        replacing = {
            EDITED: torch.tensor(True),  # noqa: FBT003 - torch's own
            keep_name(0): torch.zeros(1, 1, 1, 1),
            map_name(0): own / own.sum(dim=-1, keepdim=True),
        }
        by_bias = self.opened.run(self.inputs, {bias_name(0): self._hiding()}).logits
        return largest_gap(by_bias, self.opened.run(self.inputs, replacing).logits)

    def _hiding(self) -> Tensor:
        bias = torch.zeros(1, 1, 1, LENGTHS[0], dtype=self.opened.dtype)
        bias[..., HIDDEN] = torch.finfo(self.opened.dtype).min
        return bias

    def _knocked_out(self) -> float:
        """Hide a key from every row by a bias in all layers, and by the attention mask."""
        masked = dict(self.inputs)
        masked["attention_mask"] = self.inputs["attention_mask"].clone()
        masked["attention_mask"][:, HIDDEN] = 0
        operators = {bias_name(layer): self._hiding() for layer in range(self.opened.layers)}
        by_mask = self.opened.see(masked, weights=False).logits
        return largest_gap(self.opened.run(self.inputs, operators).logits, by_mask)


def blocks_make_the_states(opened: OpenSession, inputs: Inputs) -> SelfTest:
    """Whether what was taken for the layers' blocks makes of their values what the graph makes of them."""
    seen = opened.see(inputs, blocks=True)
    layers = zip(opened.blocks, seen.weights, seen.blocks, strict=True)
    try:
        error = worst(block_error(*layer) for layer in layers)
    except RuntimeError:  # their shapes do not go together
        error = inf
    close = TOLERANCES[opened.dtype].close
    return at_most(BLOCKS, error, close, "Blocks and graph differ, relatively, by", required=False)


def windows_are_kept(opened: OpenSession, inputs: Inputs, visible: Tensor) -> SelfTest:
    """Whether what edits put in lies within the windows and is whole, on texts that are longer than they are."""
    layers = range(opened.layers)
    rows, length = visible.shape
    drawn = torch.stack([torch.randperm(length, generator=torch.Generator().manual_seed(row)) for row in range(rows)])
    order = drawn[:, None].expand(-1, opened.heads, -1)
    edits = (
        ExplicitRows(first=0, uniform=torch.ones(rows, opened.layers, dtype=torch.bool)),
        ExplicitRows(first=0, orders=dict.fromkeys(layers, order)),
    )
    errors = []
    for edit in edits:
        for weights, window in zip(
            opened.edit(inputs, visible, edit, weights=True).weights, opened.windows, strict=True
        ):
            errors.append(float((weights.float().sum(dim=-1) - 1).abs().max()))
            seen = seen_within(window, visible)
            if seen is not None:
                errors.append(float(weights.masked_fill(seen.to(weights.device), 0.0).abs().max()))
    close = EXACT[opened.dtype]
    return at_most("windows_are_kept", worst(errors), close, "Beyond windows, or missing in them, there is at most")


def padded_equals_alone(plain: Callable[[Inputs], Tensor], inputs: Inputs) -> SelfTest:
    """Whether the second row gives the same without its padding; required of every graph."""
    together = plain(inputs)[1:2]
    alone = plain({name: each[1:2, : LENGTHS[1]] for name, each in inputs.items()})
    error = largest_gap(together, alone) / max(1.0, float(alone.abs().max()))
    close = TOLERANCES[alone.dtype].close
    return at_most("padded_equals_alone", error, close, "A row alone and in a padded batch differ by")


def hidden_keys_are_hidden(logits: Callable[[Inputs], Tensor], inputs: Inputs) -> float:
    """By how much, relatively, the id of a token that the mask hides changes the answer.

    A graph that only counts the mask's ones, as some fused ones do, hides the last token instead.
    """
    masked, other = ({name: each.clone() for name, each in inputs.items()} for _ in range(2))
    for each in (masked, other):
        each["attention_mask"][:, HIDDEN] = 0
    other["input_ids"][:, HIDDEN] = inputs["input_ids"][:, HIDDEN + 1]
    expected = logits(masked)
    return largest_gap(logits(other), expected) / max(1.0, float(expected.abs().max()))
