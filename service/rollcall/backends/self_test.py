"""The tests that a model goes through when it is loaded.

A model that fails one serves predictions only, and says which.

They run on synthetic ids, two rows of different length in one padded batch, against the stock model's own SDPA and
eager outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel

from rollcall.backends.attention_hook import IMPLEMENTATION
from rollcall.backends.plan import BatchPlan, Blend, ExplicitRows, LayerEdit, Permutation
from rollcall.backends.tensors import TOLERANCES, Inputs, Tolerances, largest_gap, worst
from rollcall.domain.model import SelfTest

Tensor = torch.Tensor
Forward = Callable[[Inputs, BatchPlan | None], Tensor]

LENGTHS = (16, 9)
EXACT = 1e-5
"""Largest error of a sum of probabilities; they are float32 in every precision."""


@dataclass(slots=True, kw_only=True)
class Recorder:
    """Keeps every layer's probabilities [B, H, Q, K]."""

    layers: list[Tensor] = field(default_factory=list)

    def observe(self, probabilities: Tensor, value: Tensor) -> None:  # noqa: ARG002 - the observer contract
        """Keep one layer."""
        self.layers.append(probabilities)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTester:
    """Runs the tests on one model; `special` are its classification and separator ids."""

    model: PreTrainedModel
    forward: Forward
    layers: int
    special: tuple[int, int]

    @property
    def tolerances(self) -> Tolerances:
        """What counts as equal in the model's precision."""
        return TOLERANCES[next(self.model.parameters()).dtype]

    def run(self) -> tuple[SelfTest, ...]:
        """All tests, in order.

        Nobody else may use the model meanwhile: the attention implementation is switched and restored.
        """
        with torch.no_grad():
            return self._run()

    def _run(self) -> tuple[SelfTest, ...]:
        batch = self._batch()
        stock, eager, attentions = self._stock(batch)
        plain = self.forward(batch, None)
        scale = max(1.0, float(plain.abs().max()))
        close, visible = self.tolerances.close, self.tolerances.visible
        recorder = Recorder()
        observed_plan = BatchPlan(explicit=ExplicitRows(first=0), observer=recorder)
        self.forward(batch, observed_plan)
        maps = recorder.layers
        missing = max(abs(observed_plan.calls - self.layers), abs(len(maps) - len(attentions)))
        call_count = at_most("call_count", missing, 0, "Attention calls per forward differ from the layers by")
        if len(maps) != len(attentions):
            return (call_count,)  # nothing else can be measured
        padded = torch.stack([m[1, :, :, LENGTHS[1] :] for m in maps])
        capture_error = worst(largest_gap(m, a) for m, a in zip(maps, attentions, strict=True))
        shifted, isolated = self._uniform_second_row(batch)
        alone = self.forward(_row(batch, 1, LENGTHS[1]), None)
        return (
            call_count,
            at_most(
                "rows_sum_to_one", _largest(m.sum(dim=-1) - 1 for m in maps), EXACT, "Largest error of a row's sum is"
            ),
            at_most("masked_keys_are_zero", float(padded.max()), 0, "Largest weight on a masked key is"),
            at_most(
                "pass_through_is_stock",
                largest_gap(plain, stock),
                0,
                "Without a plan logits differ from stock SDPA by",
            ),
            at_most("capture_is_stock_eager", capture_error, close, "Captured attention differs from stock eager by"),
            at_most(
                "eager_is_sdpa",
                largest_gap(plain, eager) / scale,
                close,
                "Stock eager and SDPA logits differ, relatively, by",
            ),
            at_most(
                "own_map_reproduces",
                self._replaced(batch, maps, plain) / scale,
                close,
                "Own maps put back change logits by",
            ),
            at_most(
                "permutation_is_gather",
                self._permuted(batch) / scale,
                close,
                "Fused and explicit permutation differ by",
            ),
            at_most(
                "key_bias_is_mask", self._knocked_out(batch) / scale, close, "Knock-out by bias and by mask differ by"
            ),
            at_least(
                "uniform_changes_state",
                shifted,
                visible,
                "Uniform attention changes the read-out state, relatively, by",
            ),
            at_most("rows_are_isolated", isolated, close, "An edit of one row changes another row's state by"),
            at_most(
                "padded_equals_alone",
                largest_gap(plain[1:2], alone) / scale,
                close,
                "A row alone and in a padded batch differ by",
            ),
        )

    def _batch(self) -> Inputs:
        """Two rows of synthetic ids, the second padded."""
        config = self.model.config
        pad = config.pad_token_id if config.pad_token_id is not None else 0
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(0, config.vocab_size, (len(LENGTHS), LENGTHS[0]), generator=generator)
        ids[ids == pad] = self.special[1]
        ids[:, 0] = self.special[0]
        visible = torch.ones_like(ids)
        for row, length in enumerate(LENGTHS):
            ids[row, length - 1] = self.special[1]
            ids[row, length:] = pad
            visible[row, length:] = 0
        device = next(self.model.parameters()).device
        return Inputs(
            input_ids=ids.to(device),
            attention_mask=visible.to(device),
            type_ids=torch.zeros_like(ids).to(device),
        )

    def _stock(self, batch: Inputs) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Logits of stock SDPA and of stock eager, and the latter's attentions."""
        try:
            self.model.set_attn_implementation("sdpa")
            sdpa = self.forward(batch, None)
            self.model.set_attn_implementation("eager")
            eager = self.forward(batch, None)
            attentions = self.model.base_model(
                input_ids=batch.input_ids, attention_mask=batch.attention_mask, output_attentions=True
            ).attentions
        finally:
            self.model.set_attn_implementation(IMPLEMENTATION)
        return sdpa, eager, tuple(attentions)

    def _replaced(self, batch: Inputs, maps: list[Tensor], plain: Tensor) -> float:
        rows = torch.arange(len(plain), device=plain.device)
        edits = {i: LayerEdit(blends=(Blend(rows=rows, gate=1.0, source=m),)) for i, m in enumerate(maps)}
        return largest_gap(self.forward(batch, BatchPlan(edits=edits)), plain)

    def _permuted(self, batch: Inputs) -> float:
        """Permute row 0's keys by the gather on values, by explicit rows, and by putting their maps in."""
        row = torch.tensor([0], device=batch.input_ids.device)
        heads, length = self.model.config.num_attention_heads, LENGTHS[0]
        drawn = [torch.randperm(length, generator=torch.Generator().manual_seed(h)) for h in range(heads)]
        order = torch.stack(drawn).to(row.device)
        permutation = Permutation(rows=row, order=order.unsqueeze(0))
        gathered = self.forward(
            batch, BatchPlan(edits={i: LayerEdit(permutation=permutation) for i in range(self.layers)})
        )
        kept = torch.arange(length, device=row.device).expand(heads, length)
        orders = dict.fromkeys(range(self.layers), torch.stack((order, kept)))
        recorder = Recorder()
        explicit = self.forward(batch, BatchPlan(explicit=ExplicitRows(first=0, orders=orders), observer=recorder))
        edits = {i: LayerEdit(blends=(Blend(rows=row, gate=1.0, source=m[:1]),)) for i, m in enumerate(recorder.layers)}
        replaced = self.forward(batch, BatchPlan(edits=edits))
        return worst((largest_gap(explicit, gathered), largest_gap(replaced, gathered)))

    def _knocked_out(self, batch: Inputs) -> float:
        """Knock key 2 out of every row by a bias in all layers, and by the attention mask."""
        visible = batch.attention_mask.clone()
        visible[:, 2] = 0
        masked = self.forward(Inputs(input_ids=batch.input_ids, attention_mask=visible, type_ids=batch.type_ids), None)
        dtype = next(self.model.parameters()).dtype
        bias = torch.zeros(len(LENGTHS), 1, 1, LENGTHS[0], dtype=dtype, device=visible.device)
        bias[..., 2] = torch.finfo(dtype).min
        edits = {i: LayerEdit(key_bias=bias.expand(-1, -1, LENGTHS[0], -1)) for i in range(self.layers)}
        return largest_gap(self.forward(batch, BatchPlan(edits=edits)), masked)

    def _uniform_second_row(self, batch: Inputs) -> tuple[float, float]:
        """Relative change of the read-out states of the edited and of the other row."""
        states: list[Tensor] = []
        hook = self.model.base_model.register_forward_hook(lambda *a: states.append(a[2]["last_hidden_state"][:, 0]))
        try:
            self.forward(batch, None)
            uniform = torch.ones(1, self.layers, dtype=torch.bool, device=batch.input_ids.device)
            self.forward(batch, BatchPlan(explicit=ExplicitRows(first=1, uniform=uniform)))
        finally:
            hook.remove()
        scale = float(states[0].abs().max()) or 1.0
        return largest_gap(states[0][1], states[1][1]) / scale, largest_gap(states[0][0], states[1][0]) / scale


def _row(batch: Inputs, row: int, length: int) -> Inputs:
    cut = (slice(row, row + 1), slice(length))
    return Inputs(
        input_ids=batch.input_ids[cut], attention_mask=batch.attention_mask[cut], type_ids=batch.type_ids[cut]
    )


def _largest(errors: Iterable[Tensor]) -> float:
    return worst(float(error.abs().max()) for error in errors)


def at_most(name: str, value: float, limit: float, says: str, *, required: bool = True) -> SelfTest:
    """A test that passes where `value` is at most `limit`; what fails one that is not required is switched off."""
    passed = value <= limit
    detail = f"{says} {value:.3g}." + ("" if passed or required else " The feature is off.")
    return SelfTest(
        name=name, passed=passed, value=float(value), tolerance=float(limit), detail=detail, required=required
    )


def at_least(name: str, value: float, limit: float, says: str) -> SelfTest:
    """A test that passes where `value` is at least `limit`."""
    return SelfTest(
        name=name, passed=value >= limit, value=float(value), tolerance=float(limit), detail=f"{says} {value:.3g}."
    )
