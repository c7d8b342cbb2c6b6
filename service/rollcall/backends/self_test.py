"""The tests that a model goes through when it is loaded.

A model that fails one serves predictions only, and says which.

They run on a synthetic batch of two rows, of texts with the second one padded, against the stock model's own SDPA and
eager outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import torch
from transformers import PreTrainedModel

from rollcall.backends.attention_hook import IMPLEMENTATION
from rollcall.backends.base import Layout
from rollcall.backends.plan import BatchPlan, Blend, ExplicitRows, LayerEdit, Permutation
from rollcall.backends.readout import Readout, read
from rollcall.backends.tensors import TOLERANCES, AnyInputs, Inputs, Tolerances, largest_gap, worst
from rollcall.domain.model import SelfTest

Tensor = torch.Tensor
Forward = Callable[[AnyInputs, BatchPlan | None], Tensor]

LENGTHS = (16, 9)
EXACT = 1e-5
"""Largest error of a sum of probabilities; they are float32 in every precision, but where the family makes them."""
MOST_TRIED = 256
"""Tokens of the longest trial."""


@dataclass(slots=True, kw_only=True)
class Recorder:
    """Keeps every layer's probabilities [B, H, Q, K]."""

    layers: list[Tensor] = field(default_factory=list)

    def observe(self, probabilities: Tensor, value: Tensor) -> None:  # noqa: ARG002 - the observer contract
        """Keep one layer."""
        self.layers.append(probabilities)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A batch of two rows, how long each is, and a key that may be hidden from all."""

    batch: AnyInputs
    lengths: tuple[int, int]
    key: int


def trial_lengths(reach: int, most: int) -> tuple[int, int]:
    """Lengths of a trial: some tokens are out of `reach` of each other, where `most` and MOST_TRIED allow it."""
    longer, shorter = LENGTHS
    return (longer + reach, shorter + reach) if longer + reach <= min(most, MOST_TRIED) else LENGTHS


def padded_pair(
    config: Any,  # noqa: ANN401 - every family has its own
    special: tuple[int, int],
    device: str,
    lengths: tuple[int, int],
) -> Trial:
    """Two rows of synthetic ids between the classification and the separator id, the second padded."""
    pad = config.pad_token_id if config.pad_token_id is not None else 0
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, config.vocab_size, (len(lengths), lengths[0]), generator=generator)
    ids[ids == pad] = special[1]
    ids[:, 0] = special[0]
    visible = torch.ones_like(ids)
    for row, length in enumerate(lengths):
        ids[row, length - 1] = special[1]
        ids[row, length:] = pad
        visible[row, length:] = 0
    batch = Inputs(
        input_ids=ids.to(device), attention_mask=visible.to(device), type_ids=torch.zeros_like(ids).to(device)
    )
    return Trial(batch=batch, lengths=lengths, key=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTester:
    """Runs the tests on one model, on a `trial`; `arguments` are a batch's as the model's forward takes them."""

    model: PreTrainedModel
    forward: Forward
    arguments: Callable[[AnyInputs], dict[str, Tensor]]
    layers: int
    trial: Trial
    readout: Readout
    """Where each of the trial's rows is read."""
    layout: Layout
    heads: int
    apart: bool = False
    """Whether queries see different keys, as in a causal model or through a window."""

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
        batch, lengths = self.trial.batch, self.trial.lengths
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
        capture_error = worst(largest_gap(m, a) for m, a in zip(maps, attentions, strict=True))
        shifted, isolated = self._uniform_second_row(batch)
        alone = self.forward(batch.row(1, lengths[1]), None)
        return (
            call_count,
            at_most(
                "rows_sum_to_one",
                _largest(m.sum(dim=-1) - 1 for m in maps),
                close if self.layout.tapped else EXACT,
                "Largest error of a row's sum is",
            ),
            at_most("masked_keys_are_zero", self._on_masked(batch, maps), 0, "Largest weight on a masked key is"),
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

    def _on_masked(self, batch: AnyInputs, maps: list[Tensor]) -> float:
        """Largest weight on padding, where there is some, and on a key that is hidden from all."""
        recorder = Recorder()
        self.forward(self._hiding(batch), BatchPlan(explicit=ExplicitRows(first=0), observer=recorder))
        # Padding of a causal model, or far from any text, sees nothing at all; nor may what is hidden itself.
        own = torch.ones_like(batch.attention_mask, dtype=torch.bool)
        if self.apart:
            own = batch.attention_mask.bool().clone()
            own[:, self.trial.key] = False
        hidden = [float(m.transpose(1, 2)[own][..., self.trial.key].max()) for m in recorder.layers]
        padding = batch.attention_mask[1] == 0
        padded = [m[1][:, own[1]][:, :, padding] for m in maps]
        return worst([*hidden, *(float(m.max()) for m in padded if m.numel())])

    def _hiding(self, batch: AnyInputs) -> AnyInputs:
        visible = batch.attention_mask.clone()
        visible[:, self.trial.key] = 0
        return replace(batch, attention_mask=visible)

    def _stock(self, batch: AnyInputs) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Logits of stock SDPA and of stock eager, and the latter's attentions."""
        try:
            self._attend(self.layout.stock)
            sdpa = self.forward(batch, None)
            self._attend("eager")
            eager = self.forward(batch, None)
            attentions = self.model(**self.arguments(batch), output_attentions=True).attentions
        finally:
            self._attend(IMPLEMENTATION)
        return sdpa, eager, tuple(attentions or ())  # a head of another making may hand none on

    def _attend(self, implementation: str) -> None:
        """Have the library attend by one of its functions, where the family has a choice."""
        if not self.layout.tapped:
            self.model.set_attn_implementation(implementation)

    def _replaced(self, batch: AnyInputs, maps: list[Tensor], plain: Tensor) -> float:
        rows = torch.arange(len(plain), device=plain.device)
        edits = {i: LayerEdit(blends=(Blend(rows=rows, gate=1.0, source=m),)) for i, m in enumerate(maps)}
        return largest_gap(self.forward(batch, BatchPlan(edits=edits)), plain)

    def _permuted(self, batch: AnyInputs) -> float:
        """Permute row 0's keys by the gather on values, by explicit rows, and by putting their maps in.

        Where queries see different keys each one's are permuted among themselves, which no gather on values does.
        """
        row = torch.tensor([0], device=batch.attention_mask.device)
        heads, length = self.heads, self.trial.lengths[0]
        drawn = [torch.randperm(length, generator=torch.Generator().manual_seed(h)) for h in range(heads)]
        order = torch.stack(drawn).to(row.device)
        kept = torch.arange(length, device=row.device).expand(heads, length)
        orders = dict.fromkeys(range(self.layers), torch.stack((order, kept)))
        recorder = Recorder()
        explicit = self.forward(batch, BatchPlan(explicit=ExplicitRows(first=0, orders=orders), observer=recorder))
        edits = {i: LayerEdit(blends=(Blend(rows=row, gate=1.0, source=m[:1]),)) for i, m in enumerate(recorder.layers)}
        replaced = self.forward(batch, BatchPlan(edits=edits))
        if self.apart:
            return worst((largest_gap(explicit, replaced), self._reordered(batch, recorder.layers[0][0])))
        permutation = Permutation(rows=row, order=order.unsqueeze(0))
        gathered = self.forward(
            batch, BatchPlan(edits={i: LayerEdit(permutation=permutation) for i in range(self.layers)})
        )
        return worst((largest_gap(explicit, gathered), largest_gap(replaced, gathered)))

    def _reordered(self, batch: AnyInputs, drawn: Tensor) -> float:
        """How far a permuted map [H, Q, K] of the first layer is from the own one in another order."""
        recorder = Recorder()
        self.forward(batch, BatchPlan(explicit=ExplicitRows(first=0), observer=recorder))
        own = recorder.layers[0][0]
        return inf if torch.equal(own, drawn) else largest_gap(own.sort().values, drawn.sort().values)

    def _knocked_out(self, batch: AnyInputs) -> float:
        """Knock a key out of every row by a bias in all layers, and by the attention mask."""
        masked = self.forward(self._hiding(batch), None)
        length, dtype = self.trial.lengths[0], next(self.model.parameters()).dtype
        bias = torch.zeros(len(self.trial.lengths), 1, 1, length, dtype=dtype, device=masked.device)
        bias[..., self.trial.key] = torch.finfo(dtype).min
        edits = {i: LayerEdit(key_bias=bias.expand(-1, -1, length, -1)) for i in range(self.layers)}
        return largest_gap(self.forward(batch, BatchPlan(edits=edits)), masked)

    def _uniform_second_row(self, batch: AnyInputs) -> tuple[float, float]:
        """Relative change of the read-out states of the edited and of the other row."""
        states: list[Tensor] = []
        hook = self.layout.encoder_of(self.model).register_forward_hook(
            lambda *a: states.append(read(a[2]["last_hidden_state"], self.readout)[:, 0])
        )
        try:
            self.forward(batch, None)
            uniform = torch.ones(1, self.layers, dtype=torch.bool, device=batch.attention_mask.device)
            self.forward(batch, BatchPlan(explicit=ExplicitRows(first=1, uniform=uniform)))
        finally:
            hook.remove()
        scale = float(states[0].abs().max()) or 1.0
        return largest_gap(states[0][1], states[1][1]) / scale, largest_gap(states[0][0], states[1][0]) / scale


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
