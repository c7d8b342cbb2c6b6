"""The tests at load: a healthy model passes all, and for each there is a sabotage that it finds and names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface
from transformers.models.deberta_v2.modeling_deberta_v2 import DisentangledSelfAttention

from rollcall.backends.attention_hook import IMPLEMENTATION, attend
from rollcall.backends.base import CaptureRequest, variants
from rollcall.backends.plan import BatchPlan, Blend, LayerEdit, Observer, Permutation
from rollcall.backends.self_test import Forward, SelfTester
from rollcall.backends.tensors import AnyInputs
from rollcall.backends.torch_backend import TorchBackend
from rollcall.domain.decision import Decision, Task
from rollcall.domain.errors import ModelRejected
from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import MapKind, MapOptions
from rollcall.domain.model import SelfTest
from rollcall.domain.rows import AttentionEdit, Row
from rollcall.models.families import FAMILIES
from rollcall.models.loading import load_model
from tests.tiny import TEXT, Tiny, Zoo
from tests.unit.backends import stock
from tests.unit.backends.stock import Batch
from tests.unit.backends.switches import FEATURES, switches

Tensor = torch.Tensor


def run(backend: TorchBackend, *, forward: Forward | None = None, layers: int | None = None) -> tuple[SelfTest, ...]:
    """Run the tests with another forward, or another number of layers."""
    return SelfTester(
        model=backend._model,
        forward=forward or backend.forward,
        layers=layers or backend.shape.layers,
        arguments=backend._arguments,
        trial=backend.trial(),
        readout=backend.readout,
        layout=backend._layout,
        heads=backend.shape.heads,
        apart=backend.reach > 0 or backend._layout.tapped,
    ).run()


def failed(tests: tuple[SelfTest, ...]) -> set[str]:
    """Names of the tests that failed."""
    return {test.name for test in tests if not test.passed}


def test_every_family_passes(alike: Tiny) -> None:
    """Each supported family passes all twelve required tests, and each says what it measured.

    Three more, which are not required, say what its rows share, and one whether logits can be taken apart; all families
    can do all of it.
    """
    required = [test.name for test in alike.loaded.self_tests if test.required]
    assert required == [test.name for test in run(alike.backend)]
    assert len(required) == 12
    assert [test.name for test in alike.loaded.self_tests if not test.required] == [*FEATURES, "decomposition_is_exact"]
    assert not failed(alike.loaded.self_tests)
    assert all(test.detail.endswith(f" {test.value:.3g}.") for test in alike.loaded.self_tests)


def test_testing_leaves_the_model_as_it_was(bert: Tiny) -> None:
    """After the tests the model answers as before, through the hook."""
    encoding = bert.backend.encode(TextInput(text=TEXT))
    rows = variants(encoding, [Row(), Row(edit=AttentionEdit.PERMUTED, seed=1), Row(edit=AttentionEdit.UNIFORM)])
    before, predicted, on = bert.backend.run(rows).logits, bert.backend.predict(rows[:1]), switches(bert.backend)
    hooks_before = hooks(bert.backend)
    assert bert.backend.self_test() == bert.loaded.self_tests
    assert bert.backend._model.config._attn_implementation == IMPLEMENTATION
    assert torch.equal(before, bert.backend.run(rows).logits)
    assert torch.equal(predicted, bert.backend.predict(rows[:1]))
    assert switches(bert.backend) == on
    assert hooks(bert.backend) == hooks_before


Meddle = Callable[[BatchPlan], BatchPlan]


def meddled(backend: TorchBackend, meddle: Meddle) -> Forward:
    """A forward whose plans arrive changed."""
    return lambda inputs, plan: backend.forward(inputs, plan and meddle(plan))


def with_edits(plan: BatchPlan, change: Callable[[LayerEdit], LayerEdit]) -> BatchPlan:
    """The plan with every layer's edit changed."""
    plan.edits = {layer: change(edit) for layer, edit in plan.edits.items()}
    return plan


def with_blends(plan: BatchPlan, change: Callable[[Blend], Blend | None]) -> BatchPlan:
    """The plan with every blend changed, or gone."""

    def all_of(edit: LayerEdit) -> LayerEdit:
        changed = (change(blend) for blend in edit.blends)
        return replace(edit, blends=tuple(blend for blend in changed if blend))

    return with_edits(plan, all_of)


@dataclass(slots=True, kw_only=True)
class Inflating:
    """Tells its observer one per mille more attention than there was."""

    observer: Observer

    def observe(self, probabilities: Tensor, value: Tensor) -> None:
        """Inflate one layer."""
        self.observer.observe(probabilities * 1.001, value)


def inflate(plan: BatchPlan) -> BatchPlan:
    """Let observers see probabilities that do not sum to 1."""
    plan.observer = plan.observer and Inflating(observer=plan.observer)
    return plan


def swap_heads(plan: BatchPlan) -> BatchPlan:
    """Put given maps into the wrong heads."""
    return with_blends(plan, lambda b: replace(b, source=b.source.flip(1)) if isinstance(b.source, Tensor) else b)


class WrongWay(BatchPlan):
    """Permutes the values by the permutation instead of its inverse; explicit rows and observers are right."""

    def attend(self, module: torch.nn.Module, *arrays: Any, **options: Any) -> tuple[Tensor, None]:  # noqa: ANN401 - passed on whole
        """Observe what is right and do what is wrong."""
        edit = self.edits.get(self.calls, LayerEdit())
        result = super().attend(module, *arrays, **options)
        if edit.permutation is None:
            return result
        wrong = Permutation(rows=edit.permutation.rows, order=edit.permutation.order.argsort(dim=-1))
        return BatchPlan(edits={0: LayerEdit(permutation=wrong)}).attend(module, *arrays, **options)


def permute_the_wrong_way(plan: BatchPlan) -> BatchPlan:
    """Confuse a permutation with its inverse."""
    return WrongWay(edits=plan.edits, observer=plan.observer, explicit=plan.explicit)


def lose_orders(plan: BatchPlan) -> BatchPlan:
    """Lose the permutations of explicit rows."""
    plan.explicit = plan.explicit and replace(plan.explicit, orders={})
    return plan


def permute_explicitly_the_wrong_way(plan: BatchPlan) -> BatchPlan:
    """Confuse explicit rows' permutations with their inverses."""
    if plan.explicit is not None:
        inverses = {layer: order.argsort(dim=-1) for layer, order in plan.explicit.orders.items()}
        plan.explicit = replace(plan.explicit, orders=inverses)
    return plan


def lose_bias(plan: BatchPlan) -> BatchPlan:
    """Lose the bias on its way to the kernel."""
    return with_edits(plan, lambda edit: replace(edit, key_bias=None))


def lose_uniform(plan: BatchPlan) -> BatchPlan:
    """Lose the positive control."""
    plan.explicit = plan.explicit and replace(plan.explicit, uniform=None)
    return plan


def spill(plan: BatchPlan) -> BatchPlan:
    """Make the first row uniform, too."""
    if plan.explicit is not None and plan.explicit.uniform is not None:
        plan.explicit = replace(plan.explicit, first=0, uniform=plan.explicit.uniform.expand(2, -1))
    return plan


PLANS_CHANGED: tuple[tuple[str, Meddle], ...] = (
    ("rows_sum_to_one", inflate),
    ("own_map_reproduces", swap_heads),
    ("permutation_is_gather", lose_orders),
    ("key_bias_is_mask", lose_bias),
    ("uniform_changes_state", lose_uniform),
    ("rows_are_isolated", spill),
)


@pytest.mark.parametrize(("name", "meddle"), PLANS_CHANGED, ids=lambda part: getattr(part, "__name__", part))
def test_a_hook_that_does_not_do_as_planned_is_found(tiny: Tiny, name: str, meddle: Meddle) -> None:
    """Whatever the hook does to a plan, some test says so, and its name says what."""
    assert name in failed(run(tiny.backend, forward=meddled(tiny.backend, meddle)))


@pytest.mark.parametrize("meddle", [permute_the_wrong_way, permute_explicitly_the_wrong_way])
def test_a_permutation_the_wrong_way_is_found(alike: Tiny, meddle: Meddle) -> None:
    """Where all queries see the same keys a permutation is a gather on values, which tells it from its inverse."""
    assert "permutation_is_gather" in failed(run(alike.backend, forward=meddled(alike.backend, meddle)))


def test_a_missing_layer_is_found(tiny: Tiny) -> None:
    """A layer that never calls the hook is counted."""
    assert failed(run(tiny.backend, layers=tiny.backend.shape.layers + 1)) == {"call_count"}


def test_a_tap_that_is_never_called_is_refused(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the module that drops out probabilities is called otherwise, nothing is served as if it had been seen."""
    row = FAMILIES["deberta-v2"]
    elsewhere = replace(row, layout=replace(row.layout, attention="attention.self.elsewhere"))
    monkeypatch.setattr("rollcall.models.loading.FAMILIES", {"deberta-v2": elsewhere})
    with pytest.raises(ModelRejected, match="hook was never called"):
        load_model(zoo["deberta-v2"].directory)


def test_a_tap_that_another_module_undoes_is_found(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A family that goes on with its own probabilities, whatever the tap puts in their place, predicts only."""
    original: Any = DisentangledSelfAttention.forward

    def forgetful(module: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - passed on whole
        undo = module.dropout.register_forward_hook(lambda *call: call[1][0])
        try:
            return original(module, *arguments, **named)
        finally:
            undo.remove()

    monkeypatch.setattr(DisentangledSelfAttention, "forward", forgetful)
    assert {"key_bias_is_mask", "uniform_changes_state"} <= set(load_model(zoo["deberta-v2"].directory).failed)


def test_a_missing_mask_function_is_found(alike: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mask function under the hook's name padding leaks, silently; three tests see it."""
    monkeypatch.delitem(AttentionMaskInterface._global_mapping, IMPLEMENTATION)
    leaking = {"masked_keys_are_zero", "pass_through_is_stock", "padded_equals_alone", "capture_is_stock_eager"}
    assert leaking <= failed(run(alike.backend))


def test_a_forward_that_forgets_its_mask_is_found(alike: Tiny) -> None:
    """A row whose padding counts is not the row alone."""

    def forgetful(inputs: AnyInputs, plan: BatchPlan | None) -> Tensor:
        return alike.backend.forward(replace(inputs, attention_mask=torch.ones_like(inputs.attention_mask)), plan)

    assert "padded_equals_alone" in failed(run(alike.backend, forward=forgetful))


def test_an_idle_hook_that_is_not_the_stock_call_is_found(alike: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain predictions must be the stock model's to the last bit."""

    def nearly(
        module: torch.nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        **options: Any,  # noqa: ANN401 - passed on whole
    ) -> tuple[Tensor, None]:
        context, _ = attend(module, query, key, value, mask, **options)
        return context if "rollcall_plan" in options else context * (1 + 1e-6), None

    monkeypatch.setitem(AttentionInterface._global_mapping, IMPLEMENTATION, nearly)
    assert failed(run(alike.backend)) == {"pass_through_is_stock"}


def test_a_capture_at_the_wrong_temperature_is_found(alike: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured attention that still sums to 1, and is not the model's."""

    def warmer(
        module: torch.nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        **options: Any,  # noqa: ANN401 - passed on whole
    ) -> tuple[Tensor, None]:
        query = query * 1.01 if "rollcall_plan" in options else query
        return attend(module, query, key, value, mask, **options)

    monkeypatch.setitem(AttentionInterface._global_mapping, IMPLEMENTATION, warmer)
    found = failed(run(alike.backend))
    assert "capture_is_stock_eager" in found
    assert "rows_sum_to_one" not in found


def test_a_model_whose_two_attentions_differ_is_found(alike: Tiny) -> None:
    """Maps are the explicit attention's, predictions the fused one's: they must be of one model."""

    def two_faced(inputs: AnyInputs, plan: BatchPlan | None) -> Tensor:
        eager = alike.backend._model.config._attn_implementation == "eager"
        return alike.backend.forward(inputs, plan).add(0.01 if eager else 0.0)

    assert failed(run(alike.backend, forward=two_faced)) == {"eager_is_sdpa"}


def test_a_hook_that_loses_its_plans_is_found(bert: Tiny) -> None:
    """A hook that has gone deaf after the probe captures nothing and changes nothing, and is named, not a crash."""
    found = failed(run(bert.backend, forward=lambda inputs, _: bert.backend.forward(inputs, None)))
    assert found == {"call_count"}


def test_every_test_has_its_sabotage() -> None:
    """No required test at load is there for show: the ones above name all twelve."""
    elsewhere = {
        "call_count",
        "masked_keys_are_zero",
        "padded_equals_alone",
        "pass_through_is_stock",
        "capture_is_stock_eager",
        "eager_is_sdpa",
    }
    assert len(elsewhere | {name for name, _ in PLANS_CHANGED}) == 12


def test_weights_that_are_not_numbers_are_found(bert: Tiny) -> None:
    """A model full of NaN proves nothing, and passes nothing that compares."""
    backend = load_model(bert.directory).backend
    assert isinstance(backend, TorchBackend)
    backend._model.classifier.weight.data.fill_(float("nan"))
    assert {"pass_through_is_stock", "own_map_reproduces", "padded_equals_alone"} <= failed(backend.self_test())


def test_a_failing_model_is_served_for_predictions(bert: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that fails at load is loaded, names its failures, and predicts what the stock model predicts."""
    monkeypatch.delitem(AttentionMaskInterface._global_mapping, IMPLEMENTATION)
    loaded = load_model(bert.directory)
    assert "masked_keys_are_zero" in loaded.failed
    assert isinstance(loaded.backend, TorchBackend)
    encoding = loaded.backend.encode(TextInput(text=TEXT))
    batch = Batch.of(tuple(encoding.input_ids.tolist()))
    ours = loaded.backend.predict(variants(encoding, [Row()]))
    assert torch.equal(ours, stock.stock_logits(bert, bert.sdpa, batch))
    assert switches(loaded.backend) == dict.fromkeys(FEATURES, False)
    assert len(loaded.self_tests) == 12


def test_a_failing_hook_is_not_predicted_with(bert: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the idle hook is not the stock call, predictions are the stock model's all the same."""

    def wrong(
        module: torch.nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        **options: Any,  # noqa: ANN401 - passed on whole
    ) -> tuple[Tensor, None]:
        context, _ = attend(module, query, key, value, mask, **options)
        return context if "rollcall_plan" in options else context * 1.1, None

    monkeypatch.setitem(AttentionInterface._global_mapping, IMPLEMENTATION, wrong)
    backend = load_model(bert.directory).backend
    encoding = backend.encode(TextInput(text=TEXT))
    batch = Batch.of(tuple(encoding.input_ids.tolist()))
    assert torch.equal(backend.predict(variants(encoding, [Row()])), stock.stock_logits(bert, bert.sdpa, batch))


def test_a_crash_while_capturing_leaves_no_hook(bert: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong in the middle of a forward leaves the model as it was."""
    encoding = bert.backend.encode(TextInput(text=TEXT))
    request = CaptureRequest(
        maps=frozenset(MapKind),
        options=MapOptions(),
        decide=lambda _: Decision(task=Task.SINGLE_LABEL, target=0),
        attention=None,
    )

    def broken(*_: object, **__: object) -> tuple[Tensor, None]:
        message = "kernel failed"
        raise ArithmeticError(message)

    hooks_before = hooks(bert.backend)
    with monkeypatch.context() as broken_kernel:
        broken_kernel.setitem(AttentionInterface._global_mapping, IMPLEMENTATION, broken)
        with pytest.raises(ArithmeticError):
            bert.backend.capture(encoding, request)
        with pytest.raises(ArithmeticError):
            bert.backend.run(variants(encoding, [Row(readout=True)]))
    assert hooks(bert.backend) == hooks_before
    assert bert.backend.run(variants(encoding, [Row()])).logits.isfinite().all()


def hooks(backend: TorchBackend) -> int:
    """How many hooks the modules carry."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in backend._model.modules())
