"""Language models of every family: the next token against the stock model, and attention that never sees the future."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from rollcall.attribution.rollout import by_receptive_field
from rollcall.backends.base import CaptureRequest, variants
from rollcall.backends.plan import BatchPlan, ExplicitRows
from rollcall.backends.prompt_backend import OTHER, PromptBackend
from rollcall.backends.self_test import Recorder
from rollcall.backends.stock_attention import among_visible, causal_mask
from rollcall.domain.decision import Decision, Task
from rollcall.domain.errors import InvalidInput, ModelRejected
from rollcall.domain.inputs import Encoding, TextInput
from rollcall.domain.maps import Floats, MapKind, MapOptions
from rollcall.domain.rows import AttentionEdit, RemovalOperator, Row
from rollcall.models.families import FAMILIES
from rollcall.models.loading import LoadedModel, load_model
from tests.decoders import FAMILIES as TINY
from tests.decoders import POSITIONS, make_decoder, tokens_of
from tests.tiny import make_model
from tests.unit.backends.by_hand import ByHand, Softmax, edits

Tensor = torch.Tensor
PROMPT = "the film is a quiet triumph and I loved every minute of it"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A tiny model as the service loads it, and the stock library's own view of the same files."""

    family: str
    directory: Path

    @cached_property
    def loaded(self) -> LoadedModel:
        """Loaded and proved by the service."""
        return load_model(self.directory, tokens=tokens_of(self.family))

    @property
    def backend(self) -> PromptBackend:
        """What runs it."""
        assert isinstance(self.loaded.backend, PromptBackend)
        return self.loaded.backend

    @cached_property
    def stock(self) -> Any:  # noqa: ANN401 - of any family
        """The stock model."""
        return AutoModelForCausalLM.from_pretrained(self.directory, attn_implementation="eager")

    @cached_property
    def encoding(self) -> Encoding:
        """A prompt."""
        return self.backend.encode(TextInput(text=PROMPT))

    def expected(self, ids: list[int], hidden: list[int] | None = None) -> Floats:
        """Probabilities [C] by the stock model's softmax over its whole vocabulary, the last one of all others."""
        mask = torch.ones(1, len(ids), dtype=torch.long)
        mask[0, hidden or []] = 0
        with torch.no_grad():
            logits = self.stock(
                input_ids=torch.tensor([ids]), attention_mask=mask, position_ids=torch.arange(len(ids))[None]
            ).logits
        chances = logits[0, -1].double().softmax(dim=-1).numpy()
        named = chances[self.backend._tokens.numpy()]
        return np.append(named, 1 - named.sum())

    def found(self, *rows: Row) -> Floats:
        """The service's probabilities [R, C]."""
        logits = self.backend.run(variants(self.encoding, rows)).logits
        return logits.double().softmax(dim=-1).numpy()


@pytest.fixture(scope="module", params=TINY)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """One family's model."""
    family = str(request.param)
    return Subject(family=family, directory=make_decoder(family, tmp_path_factory.mktemp(family)))


def test_every_language_model_has_a_tiny_one() -> None:
    """A family that is added without a test here is noticed."""
    assert {name for name, family in FAMILIES.items() if family.causal} == set(TINY)


def test_a_family_is_proved_and_asked_for_its_tokens(subject: Subject) -> None:
    """All required self-tests pass; labels are the named tokens and the others; the last layer computes every query."""
    assert subject.loaded.failed == ()
    assert subject.loaded.labels == (*tokens_of(subject.family), OTHER)
    assert subject.backend.task is Task.NEXT_TOKEN
    assert set(MapKind) - set(subject.loaded.maps) == {MapKind.NORM_ROLLOUT, MapKind.DECOMPOSITION}
    features = {test.name: test.passed for test in subject.loaded.self_tests if not test.required}
    assert not features["readout_row_suffices"]
    assert features["rows_join_late"]


def test_probabilities_are_the_models_own(subject: Subject) -> None:
    """Nothing is renormalised over the named tokens: what is left belongs to all others."""
    logits = subject.backend.predict(variants(subject.encoding, [Row()]))
    found = logits[0].double().softmax(dim=-1).numpy()
    np.testing.assert_allclose(found, subject.expected(subject.encoding.input_ids.tolist()), atol=1e-6)


def test_prompts_of_several_lengths_share_a_batch(subject: Subject) -> None:
    """Shorter ones are padded in front, so that the last token stays last and positions count from the start."""
    prompts = [subject.backend.encode(TextInput(text=" ".join(PROMPT.split()[:n]))) for n in (3, 13, 7)]
    logits = subject.backend.predict([row for each in prompts for row in variants(each, [Row()])])
    for each, found in zip(prompts, logits.double().softmax(dim=-1).numpy(), strict=True):
        np.testing.assert_allclose(found, subject.expected(each.input_ids.tolist()), atol=1e-6)


def test_words_are_replaced_hidden_and_taken_out(subject: Subject) -> None:
    """Each row is the stock model's answer to ids that were changed by hand, in one batch with the others."""
    removed = np.zeros(len(subject.encoding.units), dtype=np.bool_)
    removed[[1, 4, 5]] = True
    gone = np.flatnonzero(subject.encoding.tokens_of(removed)).tolist()
    ids = subject.encoding.input_ids.tolist()
    replaced, hidden, deleted, untouched = subject.found(
        Row(removed=removed),
        Row(removed=removed, operator=RemovalOperator.HIDDEN_KEYS),
        Row(removed=removed, operator=RemovalOperator.DELETION),
        Row(),
    )
    other = [subject.backend._encoder.removal_token if i in gone else token for i, token in enumerate(ids)]
    np.testing.assert_allclose(replaced, subject.expected(other), atol=1e-6)
    np.testing.assert_allclose(hidden, subject.expected(ids, hidden=gone), atol=1e-6)
    left = [token for i, token in enumerate(ids) if i not in gone]
    np.testing.assert_allclose(deleted, subject.expected(left), atol=1e-6)
    np.testing.assert_allclose(untouched, subject.expected(ids), atol=1e-6)


def observed(subject: Subject, orders: dict[int, Tensor]) -> list[Tensor]:
    """Each layer's attention [H, Q, K] of the prompt under permutations."""
    recorder, rows = Recorder(), variants(subject.encoding, [Row()])
    plan = BatchPlan(explicit=ExplicitRows(first=0, orders=orders), observer=recorder)
    with torch.no_grad():
        subject.backend.forward(subject.backend._inputs(rows, subject.encoding.length), plan)
    return [layer[0] for layer in recorder.layers]


def test_a_permutation_never_shows_the_future(subject: Subject) -> None:
    """Each query's weights are its own ones in another order, and none of them lies behind it."""
    length = subject.encoding.length
    order = torch.stack([torch.randperm(length, generator=torch.Generator().manual_seed(h)) for h in range(4)])[None]
    before, after = observed(subject, {})[0], observed(subject, {0: order})[0]
    assert not after.triu(1).any()
    torch.testing.assert_close(after.sort(dim=-1).values, before.sort(dim=-1).values)
    moved = (after != before).any(dim=0).any(dim=-1)
    assert moved[2:].float().mean() > 0.8


def test_edits_leave_other_rows_alone(subject: Subject) -> None:
    """An identity replay changes nothing, uniform attention something, and a row beside them is untouched."""
    edits = [Row(edit=edit, seed=1) for edit in (AttentionEdit.IDENTITY, AttentionEdit.UNIFORM, AttentionEdit.PERMUTED)]
    alone, identity, uniform, permuted = subject.found(Row(), *edits)
    np.testing.assert_allclose(identity, alone, atol=1e-6)
    np.testing.assert_allclose(alone, subject.expected(subject.encoding.input_ids.tolist()), atol=1e-6)
    assert min(np.abs(uniform - alone).max(), np.abs(permuted - alone).max()) > 1e-5


def seen_by(subject: Subject, layer: int) -> Tensor:
    """Which keys each query of a layer sees [T, T]: what came before, within the window that a layer may have."""
    config = subject.stock.config
    places = torch.arange(subject.encoding.length)
    before = places[:, None] - places
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * config.num_hidden_layers
    reach = getattr(config, "sliding_window", None) if kinds[layer] == "sliding_attention" else None
    return (before >= 0) & (before < (reach or subject.encoding.length))


def test_edits_are_those_of_the_stock_models_own_softmax(subject: Subject) -> None:
    """Every edit of attention gives the stock model's answer under that edit, within what each query sees."""
    layers, length = subject.backend.shape.layers, subject.encoding.length
    rows = edits(subject.encoding, layers)
    found = subject.found(*rows)
    chances = []
    for row in rows:
        edit = ByHand(
            encoding=subject.encoding, row=row, layers=layers, visible=partial(seen_by, subject), readout=length - 1
        )
        with Softmax(edit=edit) as caught:
            chances.append(subject.expected(subject.encoding.input_ids.tolist()))
        assert caught.layer == layers
    np.testing.assert_allclose(found, chances, atol=1e-6)
    untouched = (AttentionEdit.NONE, AttentionEdit.IDENTITY)
    for row, chance in zip(rows, chances, strict=True):
        assert (np.abs(chance - chances[0]).max() < 1e-7) == (row.edit in untouched), row


def test_the_last_token_is_read(subject: Subject) -> None:
    """Maps are of the last query: a capture's read-out rows are the last rows of its attention."""
    request = CaptureRequest(
        maps=frozenset({MapKind.RAW_ATTENTION, MapKind.GRADIENT_ROLLOUT}),
        options=MapOptions(),
        decide=lambda _: Decision(task=Task.NEXT_TOKEN, target=0, foil=1, by_sign=True),
        attention=None,
    )
    capture = subject.backend.capture(subject.encoding, request)
    assert capture.attention is not None
    for layer, whole in enumerate(observed(subject, {})):
        torch.testing.assert_close(capture.attention.readout[0, layer], whole[:, -1])
    assert capture.gradients is not None
    assert bool((capture.gradients > 0).any())


def test_each_query_permutes_what_it_sees() -> None:
    """Four keys in the order 2, 0, 3, 1: the third query sees 0 to 2, which come as 2, 0, 1, since 3 leads on to 1."""
    order = torch.tensor([[[2, 0, 3, 1]]])
    mask = causal_mask(torch.zeros(1, 1, 4, 1), torch.zeros(1, 1, 4, 1))
    found = among_visible(order, mask)[0, 0].tolist()
    assert found == [[0, 1, 2, 3], [1, 0, 2, 3], [2, 0, 1, 3], [2, 0, 3, 1]]
    mask = mask.clone()
    mask[..., 0] = False  # the first key is hidden, or is padding
    assert among_visible(order, mask)[0, 0].tolist()[3] == [0, 2, 3, 1]


def test_early_tokens_have_no_advantage() -> None:
    """Uniform attention in every layer favours early tokens by the number of ways; by receptive field less so."""
    row = torch.tensor([[0.4, 0.3, 0.2, 0.1]])
    torch.testing.assert_close(by_receptive_field(row), torch.full((1, 4), 0.25))


def refusal(subject: Subject, **fields: Any) -> str:  # noqa: ANN401 - fields of TextInput
    """The field that is refused."""
    with pytest.raises(InvalidInput) as refused:
        subject.backend.encode(TextInput(**fields))
    (violation,) = refused.value.violations
    return violation.field


def test_what_is_no_prompt_is_refused(subject: Subject) -> None:
    """A pair is none, nor is a text whose end, which decides, would be cut off."""
    assert refusal(subject, text=PROMPT, text_pair=PROMPT) == "text.text_pair"
    assert refusal(subject, text="the film " * POSITIONS) == "text.text"


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        ((), "needs its tokens"),
        (("film",), "needs its tokens"),
        (("film", "film"), "all different"),
        (("film", "quiet triumph"), "'quiet triumph' is no single token"),
        (("film", "zebra"), "'zebra' is no single token"),
    ],
)
def test_tokens_must_be_the_models_own(tmp_path: Path, tokens: tuple[str, ...], reason: str) -> None:
    """What the model cannot say in one step cannot be asked for."""
    with pytest.raises(ModelRejected, match=reason):
        load_model(make_decoder("llama", tmp_path), tokens=tokens)


def test_a_classifier_has_no_tokens_to_be_asked_for(tmp_path: Path) -> None:
    """Tokens that would be ignored are refused."""
    with pytest.raises(ModelRejected, match="is no language model"):
        load_model(make_model("bert", tmp_path), tokens=("yes", "no"))
