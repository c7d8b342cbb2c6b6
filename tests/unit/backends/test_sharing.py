"""What rows share is tried at load: every family can share everything, and whatever cannot is found out and spared.

Each sabotaged model is one that the required tests let pass. It must stay explainable, the switch of what it cannot
do must be off, and its rows must be those of the stock model with the same sabotage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf, isnan
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification, PreTrainedModel

from rollcall.backends.base import variants
from rollcall.backends.sharing import LENGTHS, try_features
from rollcall.backends.torch_backend import TorchBackend
from rollcall.domain.decision import Task
from rollcall.domain.inputs import TextInput
from rollcall.domain.model import SelfTest
from rollcall.domain.rows import AttentionEdit, RemovalOperator, Row
from rollcall.models.families import FAMILIES
from rollcall.models.loading import LoadedModel
from tests.harness import card
from tests.tiny import TEXT, Tiny
from tests.unit.backends import stock
from tests.unit.backends.stock import Batch
from tests.unit.backends.switches import FEATURES, switched, switches

Tensor = torch.Tensor
Sabotage = Callable[[Any], None]
"""Spoils a BERT classifier by hooks."""

WITHIN = 1e-5
READOUT, JOINING, NEUTRAL = FEATURES


def test_every_family_shares_everything(alike: Tiny) -> None:
    """All three features hold in each family, and the tests say what they measured."""
    tests = {test.name: test for test in alike.loaded.self_tests if test.name in FEATURES}
    assert tuple(tests) == FEATURES
    assert all(test.passed for test in tests.values())
    assert switches(alike.backend) == dict.fromkeys(FEATURES, True)
    assert (tests[NEUTRAL].value, tests[NEUTRAL].tolerance) == (0, 0)
    assert 0 < tests[READOUT].value < WITHIN
    assert 0 < tests[JOINING].value < WITHIN


def test_trying_again_tells_the_same(alike: Tiny) -> None:
    """The tests draw the same inputs every time, from whatever state the switches are in."""
    told = tuple(test for test in alike.loaded.self_tests if test.name in FEATURES)
    for on in (True, False):
        with switched(alike.backend, **dict.fromkeys(FEATURES, on)):
            assert try_features(alike.backend, 1e-4) == told
            assert switches(alike.backend) == dict.fromkeys(FEATURES, True)


def test_a_synthetic_input_is_one(tiny: Tiny) -> None:
    """What is tried is an input as the encoder makes them: two special tokens, and a unit for each token between."""
    for length in (2, 3, *LENGTHS):
        encoding = tiny.backend.synthetic(length)
        cls, sep = tiny.backend._encoder.special
        assert encoding.length == length == encoding.tokens_total
        assert (encoding.input_ids[0], encoding.input_ids[-1]) == (cls, sep)
        assert encoding.unit_of_token.tolist() == [-1, *range(length - 2), -1]
        assert [unit.token_start for unit in encoding.units] == list(range(1, length - 1))
        assert (encoding.input_ids < tiny.backend._model.config.vocab_size).all()


class TwoTokens(torch.nn.Module):
    """A pooler that reads the first two tokens, as far as there are two: it never fails, it is only different."""

    def __init__(self, pooler: Any) -> None:  # noqa: ANN401 - a pooler
        """Pool as `pooler` does."""
        super().__init__()
        self.pooler = pooler

    def forward(self, states: Tensor) -> Tensor:
        """Pool the mean of two tokens."""
        pooled: Tensor = self.pooler(states[:, :2].mean(dim=1, keepdim=True))
        return pooled


def pool_two_tokens(model: Any) -> None:  # noqa: ANN401 - a BERT classifier
    """Read a token that the last layer would not compute."""
    model.bert.pooler = TwoTokens(model.bert.pooler)


def pool_the_mean(model: Any) -> None:  # noqa: ANN401 - a BERT classifier
    """Read the mean over all tokens, as sentence encoders do; a single token is taken for all of them."""
    read: list[Tensor] = []

    def remember(_: object, __: object, arguments: Mapping[str, Tensor]) -> None:
        read[:] = [arguments["input_ids"] != model.config.pad_token_id]

    def pool(_: object, arguments: tuple[Tensor]) -> tuple[Tensor]:
        share = read[0].unsqueeze(-1).to(arguments[0].dtype)
        return ((arguments[0] * share).sum(dim=1, keepdim=True) / share.sum(dim=1, keepdim=True),)

    model.register_forward_pre_hook(remember, with_kwargs=True)
    model.bert.pooler.register_forward_pre_hook(pool)


def need_two_tokens(model: Any) -> None:  # noqa: ANN401 - a BERT classifier
    """Fail on a last layer of a single query."""

    def insist(_: object, arguments: tuple[Tensor]) -> None:
        if arguments[0].shape[1] < 2:
            message = "too few tokens"
            raise ArithmeticError(message)

    model.bert.encoder.layer[-1].intermediate.register_forward_pre_hook(insist)


def need_the_rows_that_started(model: Any) -> None:  # noqa: ANN401 - a BERT classifier
    """Add each row's first word, as it was embedded, to its state in the middle: rows that join have no such thing."""
    made = _embedded(model)
    model.bert.encoder.layer[1].output.register_forward_hook(lambda _, __, output: output + 0.1 * made[0][:, 1:2])


def go_by_place(model: Any) -> None:  # noqa: ANN401 - a BERT classifier
    """Do the same, and take the rows that started in turn where there are more: it never fails, it is only wrong."""
    made = _embedded(model)

    def add(_: object, __: object, output: Tensor) -> Tensor:
        return output + 0.1 * made[0][torch.arange(len(output)) % len(made[0]), 1:2]

    model.bert.encoder.layer[1].output.register_forward_hook(add)


def _embedded(model: Any) -> list[Tensor]:  # noqa: ANN401 - a BERT classifier
    """What the embeddings have made of the rows that started, once they have."""
    made: list[Tensor] = []
    model.bert.embeddings.register_forward_hook(lambda _, __, output: made.__setitem__(slice(None), [output]))
    return made


def nudge_whoever_joins(model: Any) -> None:  # noqa: ANN401 - a BERT classifier
    """Compute rows that have not been there from the start differently."""
    embedded: list[int] = []
    model.bert.embeddings.register_forward_hook(lambda _, __, output: embedded.append(len(output)))

    def nudge(_: object, __: object, output: Tensor) -> Tensor:
        late = torch.arange(len(output)) >= embedded[-1]
        return output + 0.01 * late[:, None, None] * torch.arange(output.shape[-1])

    model.bert.encoder.layer[-1].output.register_forward_hook(nudge)


def mind_the_company(model: Any) -> None:  # noqa: ANN401 - a BERT classifier
    """Add a millionth of the batch's mean to every row, as a norm over the batch might."""

    def average(_: object, __: object, output: Tensor) -> Tensor:
        return output + 1e-6 * output.mean(dim=0, keepdim=True)

    model.bert.encoder.layer[0].output.register_forward_hook(average)


def mind_the_size(model: Any) -> None:  # noqa: ANN401 - a BERT classifier
    """Round differently in large batches, as kernels do that are chosen by size."""
    model.classifier.register_forward_hook(lambda _, __, output: output * (1 + 1e-6) if len(output) > 4 else output)


SABOTAGES = (
    pytest.param(pool_two_tokens, {READOUT}, id="pool_two_tokens"),
    pytest.param(pool_the_mean, {READOUT, JOINING}, id="pool_the_mean"),
    pytest.param(need_two_tokens, {READOUT}, id="need_two_tokens"),
    pytest.param(nudge_whoever_joins, {JOINING}, id="nudge_whoever_joins"),
    pytest.param(need_the_rows_that_started, {JOINING}, id="need_the_rows_that_started"),
    pytest.param(go_by_place, {JOINING}, id="go_by_place"),
    pytest.param(mind_the_company, {NEUTRAL}, id="mind_the_company"),
    pytest.param(mind_the_size, {NEUTRAL}, id="mind_the_size"),
)
"""Sabotages, and the features that each one breaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoilt:
    """A sabotaged model as it is loaded, and the stock model with the same sabotage."""

    loaded: LoadedModel
    backend: TorchBackend
    explicit: PreTrainedModel
    sdpa: PreTrainedModel

    @property
    def failed(self) -> dict[str, SelfTest]:
        """Tests of features that failed; a sabotaged model's logits may not be taken apart, either."""
        found = self.loaded.self_tests
        return {test.name: test for test in found if not (test.passed or test.name == "decomposition_is_exact")}


def spoilt(tiny: Tiny, sabotage: Sabotage, kind: Any = AutoModelForSequenceClassification) -> Spoilt:  # noqa: ANN401 - a model class
    """Load a tiny model with a sabotage."""

    def model(attention: str) -> PreTrainedModel:
        made: PreTrainedModel = kind.from_pretrained(tiny.directory, attn_implementation=attention)
        sabotage(made)
        return made

    family = FAMILIES[tiny.family]
    backend = TorchBackend(
        model("sdpa"),
        tiny.backend._encoder,
        family.layout,
        task=Task.SINGLE_LABEL,
        takes_type_ids=tiny.family in stock.TYPED,
        device="cpu",
    )
    loaded = LoadedModel(
        backend=backend, family=family.title, labels=("a", "b", "c"), digest="sha256:0", self_tests=backend.self_test()
    )
    return Spoilt(loaded=loaded, backend=backend, explicit=model(stock.EXPLICIT), sdpa=model("sdpa"))


@pytest.mark.parametrize(("sabotage", "broken"), SABOTAGES)
def test_what_a_model_cannot_share_is_switched_off(bert: Tiny, sabotage: Sabotage, broken: set[str]) -> None:
    """A model that cannot share something is explained without it, and its card says why it is slower.

    With its last layer whole, a model may also round differently in batches of a few rows: then that is off as well.
    """
    model = spoilt(bert, sabotage)
    assert set(model.failed) in (broken, broken | {NEUTRAL} if READOUT in broken else broken)
    assert switches(model.backend) == {feature: feature not in model.failed for feature in FEATURES}
    assert model.loaded.failed == ()
    assert card("spoilt", model.loaded).explainable
    for test in model.failed.values():
        assert not test.required
        assert test.value > test.tolerance
        assert test.detail.endswith(f" {test.value:.3g}. The feature is off.")


def test_what_crashes_is_infinitely_far_away(bert: Tiny) -> None:
    """A crash while something is tried is a failure of it, not of loading."""
    assert spoilt(bert, need_two_tokens).failed[READOUT].value == inf


@pytest.mark.parametrize(("sabotage", "broken"), SABOTAGES)
def test_results_are_right_without_what_cannot_be_shared(bert: Tiny, sabotage: Sabotage, broken: set[str]) -> None:
    """Whatever is off, rows are the stock model's with the same sabotage, edited by hand."""
    model = spoilt(bert, sabotage)
    assert broken <= set(FEATURES)
    encoding = model.backend.encode(TextInput(text=TEXT))
    removed = np.arange(len(encoding.units)) % 3 == 0
    rows = [
        Row(readout=True),
        Row(removed=removed, operator=RemovalOperator.HIDDEN_KEYS, readout=True),
        Row(removed=removed, readout=True),
        Row(edit=AttentionEdit.UNIFORM, readout=True),
        Row(edit=AttentionEdit.UNIFORM, layers=(1, 2), readout=True),
    ]
    ids, tokens = (torch.from_numpy(a).unsqueeze(0) for a in (encoding.input_ids, encoding.tokens_of(removed)))
    whole = Batch(ids=ids, mask=torch.ones_like(ids), types=torch.zeros_like(ids))
    hidden = replace(whole, mask=(~tokens).long())
    masked = replace(whole, ids=ids.masked_fill(tokens, model.backend._encoder.removal_token))

    def untouched(_: int, probabilities: Tensor) -> Tensor:
        return probabilities

    def uniform(_: int, probabilities: Tensor) -> Tensor:
        return torch.full_like(probabilities, 1 / probabilities.shape[-1])

    def above(layer: int, probabilities: Tensor) -> Tensor:
        return uniform(layer, probabilities) if layer else probabilities

    edits = [(whole, untouched), (hidden, untouched), (masked, untouched), (whole, uniform), (whole, above)]
    expected = [stock.edited(bert, model.explicit, batch, edit) for batch, edit in edits]
    for asked in ([0, 1, 2, 3, 4], [4], [1, 3], [2, 4, 0, 4, 1, 1]):
        found = model.backend.run(variants(encoding, [rows[i] for i in asked]))
        assert found.readouts is not None
        for at, number in enumerate(asked):
            logits, state = expected[number]
            # The company that some sabotages mind is not the same here.
            assert (found.logits[at] - logits[0]).abs().max() <= 10 * WITHIN
            assert (found.readouts[at] - state[0]).abs().max() <= 10 * WITHIN
    plain = model.backend.predict(variants(encoding, [Row()]))
    assert torch.equal(plain, stock.stock_logits(bert, model.sdpa, whole))


class ReadsItsInputs(BertForSequenceClassification):  # type: ignore[no-untyped-call]  # its metaclass hook is not annotated
    """A head that uses the model's inputs beside the encoder's output, row by row."""

    def forward(self, **arguments: Any) -> Any:  # noqa: ANN401 - passed on whole
        """Scale each row's logits by what share of it is visible."""
        output = super().forward(**arguments)
        visible = arguments["attention_mask"].float().mean(dim=1, keepdim=True)
        output.logits = output.logits * (1 + 0 * visible)
        return output


def test_a_head_that_reads_the_inputs_is_loaded(bert: Tiny) -> None:
    """A head that needs as many rows as came in fails where rows are added, and is served without that."""
    model = spoilt(bert, lambda _: None, ReadsItsInputs)
    assert model.loaded.failed == ()
    assert not model.backend.readout_row_suffices
    encoding = model.backend.encode(TextInput(text=TEXT))
    for copies in (1, 2, 3, 6):
        assert len(model.backend.run(variants(encoding, [Row()] * copies)).logits) == copies


def test_a_feature_that_gives_no_numbers_is_off(bert: Tiny) -> None:
    """What gives NaN where it is tried has not been shown to hold."""

    def spoil(model: Any) -> None:  # noqa: ANN401 - a BERT classifier
        def lose(_: object, __: object, output: Tensor) -> Tensor:
            return output * float("nan") if output.shape[1] == 1 else output

        model.bert.encoder.layer[-1].output.register_forward_hook(lose)

    model = spoilt(bert, spoil)
    assert READOUT in model.failed
    assert isnan(model.failed[READOUT].value)
    assert not model.backend.readout_row_suffices


def test_company_that_gives_no_numbers_is_not_neutral(bert: Tiny) -> None:
    """A batch that turns a row into NaN has changed it, however the largest difference is found."""

    def spoil(model: Any) -> None:  # noqa: ANN401 - a BERT classifier
        def lose(_: object, __: object, output: Tensor) -> Tensor:
            return output * float("nan") if len(output) > 8 else output

        model.classifier.register_forward_hook(lose)

    model = spoilt(bert, spoil)
    assert model.loaded.failed == ()
    assert not model.backend.batch_is_neutral


def test_states_that_are_no_numbers_are_not_close(bert: Tiny) -> None:
    """A read-out state that is lost on the way is a difference, whatever the logits say."""

    def spoil(model: Any) -> None:  # noqa: ANN401 - a BERT classifier
        def lose(_: object, __: object, output: Any) -> Any:  # noqa: ANN401 - of the encoder
            if output.last_hidden_state.shape[1] == 1:
                output.last_hidden_state = output.last_hidden_state * float("nan")
            return output

        model.bert.register_forward_hook(lose)

    assert READOUT in spoilt(bert, spoil).failed
