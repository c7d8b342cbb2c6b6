"""Models that label words, of every family: each answer is the stock model's at the word that is asked about."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import LayerGradientXActivation
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from transformers import AutoModelForTokenClassification

from rollcall.attribution.attention_flow import attention_flow
from rollcall.backends.base import BatchRow, CaptureRequest, readout_of, variants
from rollcall.backends.word_backend import WordBackend
from rollcall.domain.compute import Captured
from rollcall.domain.decision import Decision, Task
from rollcall.domain.errors import InvalidInput, ModelRejected
from rollcall.domain.inputs import Encoding, TextInput, TokensInput, WordRef
from rollcall.domain.maps import DEFAULT_MAPS, AttentionSelection, Floats, MapKind, MapOptions
from rollcall.domain.model import Declared
from rollcall.domain.rows import AttentionEdit, RemovalOperator, Row, RowResult
from rollcall.engine.engine import Engine
from rollcall.models.families import FAMILIES as ROWS
from rollcall.models.loading import LoadedModel, load_model
from tests.tiny import FAMILIES, OTHERS, TEXT, make_model
from tests.unit.backends import stock
from tests.unit.backends.by_hand import ByHand, Softmax, edits

WORDS = ("I", "did", "not", "like", "the", "film", ",", "but", "the", "music", "is", "wonderful", "!")
PIECES = "the unforgettable pictures, isn't it"
"""With words of several pieces."""
CLASSES = 4


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A tiny model as the service loads it, and the stock library's own view of the same files."""

    family: str
    directory: Path

    @cached_property
    def loaded(self) -> LoadedModel:
        """Loaded and proved by the service."""
        return load_model(self.directory)

    @property
    def backend(self) -> WordBackend:
        """What runs it."""
        assert isinstance(self.loaded.backend, WordBackend)
        return self.loaded.backend

    @property
    def engine(self) -> Engine:
        """Run it under the name "tiny"."""
        return Engine(models={"tiny": self.loaded})

    @cached_property
    def stock(self) -> Any:  # noqa: ANN401 - of any family
        """The stock model with explicit attention."""
        return AutoModelForTokenClassification.from_pretrained(self.directory, attn_implementation="eager")

    def asked(self, word: int, text: str = TEXT) -> Encoding:
        """A text, asked about one of its words."""
        return self.backend.encode(TextInput(text=text, word=WordRef(index=word)))

    def arguments(self, ids: list[int], hidden: list[int] | None = None) -> dict[str, torch.Tensor]:
        """Arguments of a stock forward, some keys hidden."""
        mask = torch.ones(1, len(ids), dtype=torch.long)
        mask[0, hidden or []] = 0
        types = {"token_type_ids": torch.zeros(1, len(ids), dtype=torch.long)} if self.family in stock.TYPED else {}
        return {"input_ids": torch.tensor([ids]), "attention_mask": mask, **types}

    def logits(self, ids: list[int], place: int, hidden: list[int] | None = None) -> Floats:
        """The stock model's logits [C] of the token at a place."""
        with torch.no_grad():
            found = self.stock(**self.arguments(ids, hidden)).logits[0, place]
        return np.asarray(found.double().numpy())

    def attention(self, encoding: Encoding) -> Floats:
        """The stock model's attention [L, H, T, T]."""
        with torch.no_grad():
            found = self.stock(**self.arguments(encoding.input_ids.tolist()), output_attentions=True).attentions
        return np.asarray(torch.stack(found)[:, 0].double().numpy())

    def norms(self, encoding: Encoding) -> Floats:
        """Transformed value norms [L, T, T], which test_families and test_other_encoders hold against the papers."""
        request = CaptureRequest(
            maps=frozenset({MapKind.NORM_ROLLOUT}), options=MapOptions(), decide=lambda _: margin(0), attention=None
        )
        found = self.backend.capture(encoding, request).norms
        assert found is not None
        return np.asarray(found.double().numpy())

    def seen(self, layer: int) -> torch.Tensor:
        """Which keys each query of TEXT sees in a layer [T, T]: all, or those within half a window."""
        places = torch.arange(self.asked(0).length)
        config = self.stock.config
        local = self.family == "modernbert" and config.layer_types[layer] == "sliding_attention"
        reach = config.local_attention // 2 if local else len(places)
        return (places[:, None] - places).abs() <= reach

    def capture(self, encoding: Encoding, decision: Decision, **fields: Any) -> Captured:  # noqa: ANN401
        """Maps of an encoding."""
        request = CaptureRequest(
            maps=frozenset(DEFAULT_MAPS).intersection(self.loaded.maps),
            options=MapOptions(),
            decide=lambda _: decision,
            attention=fields.get("attention"),
        )
        return self.engine.capture("tiny", encoding, request)


def made(family: str, root: Path, **overrides: Any) -> Subject:  # noqa: ANN401 - config fields
    """A tiny model of a family."""
    return Subject(family=family, directory=make_model(family, root, classes=CLASSES, words=True, **overrides))


@pytest.fixture(scope="module", params=(*FAMILIES, *OTHERS))
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """One family's model."""
    return made(str(request.param), tmp_path_factory.mktemp(str(request.param)))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """The tiny BERT, where one family speaks for all."""
    return made("bert", tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def alphabets(bert: Subject, tmp_path_factory: pytest.TempPathFactory) -> tuple[Subject, ...]:
    """Models whose tokenizers cut words into pieces, bytes, and pieces with their blanks."""
    return (bert, *(made(family, tmp_path_factory.mktemp(family)) for family in ("roberta", "xlm-roberta")))


def margin(target: int) -> Decision:
    """Log-odds of a label."""
    return Decision(task=Task.TOKEN_LABEL, target=target)


def close(found: Floats, expected: Floats, scale: float = 1.0) -> None:
    """Equal in single precision."""
    np.testing.assert_allclose(found, expected, atol=2e-5 * max(scale, float(np.abs(expected).max())))


def test_a_family_is_proved_and_says_what_it_is(subject: Subject) -> None:
    """All required self-tests pass, and rows share what those of the family's classifiers share."""
    assert subject.loaded.failed == ()
    assert subject.backend.task is Task.TOKEN_LABEL
    assert subject.loaded.labels == tuple(f"LABEL_{i}" for i in range(CLASSES))
    features = {test.name: test.passed for test in subject.loaded.self_tests if not test.required}
    shared = subject.family in FAMILIES
    assert features["readout_row_suffices"] == shared
    assert features["rows_join_late"] == (shared or subject.family == "modernbert")
    assert features.get("decomposition_is_exact", False) == (MapKind.DECOMPOSITION in subject.loaded.maps)
    assert shared <= (MapKind.DECOMPOSITION in subject.loaded.maps)


def test_every_word_has_the_label_of_its_first_token(subject: Subject) -> None:
    """In one batch of texts of two lengths, each word's answer is the stock model's at its first token."""
    asked = [*(subject.asked(i) for i in range(len(WORDS))), *(subject.asked(i, PIECES) for i in range(3))]
    found = subject.backend.predict([row for each in asked for row in variants(each, [Row()])]).double().numpy()
    for encoding, logits in zip(asked, found, strict=True):
        assert encoding.word is not None
        first = int(np.flatnonzero(encoding.unit_of_token == encoding.units.index(encoding.word))[0])
        assert readout_of(subject.backend, encoding) == first
        close(logits, subject.logits(encoding.input_ids.tolist(), first))
    assert len(np.unique(found.round(3), axis=0)) >= len(WORDS)  # words differ, also the two "the"


def removed_by_hand(subject: Subject, encoding: Encoding, row: Row) -> Floats:
    """The stock model's answer to ids that were changed by hand."""
    assert row.removed is not None
    assert encoding.word is not None
    units = encoding.unit_of_token.tolist()
    asked, mask = units[encoding.word.token_start], subject.backend._encoder.removal_token
    ids, hidden, place, kept = [], [], 0, 0
    for at, token in enumerate(encoding.input_ids.tolist()):
        gone = units[at] >= 0 and bool(row.removed[units[at]])
        if at == encoding.word.token_start:
            place = kept
        if gone and row.operator is RemovalOperator.DELETION and units[at] != asked:
            continue
        if gone and row.operator is RemovalOperator.HIDDEN_KEYS and units[at] != asked:
            hidden.append(kept)
        blank = gone and (row.operator is RemovalOperator.MASK_TOKEN or units[at] == asked)
        ids.append(mask if blank else token)
        kept += 1
    return subject.logits(ids, place, hidden)


def test_words_are_replaced_hidden_and_taken_out(subject: Subject) -> None:
    """The place of the answer stays in sight, blank if its own word is removed; what is deleted before it moves it."""
    encoding = subject.asked(1, PIECES)
    rows = []
    for chosen in ({0, 3}, {1}, {0, 1, 3}, {2, 3}, set(range(len(encoding.units)))):
        removed = np.isin(np.arange(len(encoding.units)), [*chosen])
        rows += [Row(removed=removed, operator=operator) for operator in encoding.removals.every]
    found = subject.backend.run(variants(encoding, rows)).logits.double().numpy()
    for row, logits in zip(rows, found, strict=True):
        close(logits, removed_by_hand(subject, encoding, row))
    distinct = len(rows) - 2  # the word alone is removed in one way
    assert len(np.unique(found.round(4), axis=0)) == distinct


def test_edits_are_those_of_the_stock_models_own_softmax(subject: Subject) -> None:
    """Every edit of attention gives the stock model's answer under that edit, each row at its own word."""
    layers = subject.backend.shape.layers
    asked = [subject.asked(3), subject.asked(11)]
    pairs = [(encoding, row) for encoding in asked for row in edits(encoding, layers)]
    found = subject.backend.run([each for encoding, row in pairs for each in variants(encoding, [row])])
    for (encoding, row), logits in zip(pairs, found.logits.double().numpy(), strict=True):
        place = readout_of(subject.backend, encoding)
        edit = ByHand(encoding=encoding, row=row, layers=layers, visible=subject.seen, readout=place)
        with Softmax(edit=edit) as caught:
            expected = subject.logits(encoding.input_ids.tolist(), place)
        assert caught.layer == layers
        close(logits, expected)


def test_maps_are_read_at_the_word(subject: Subject) -> None:
    """Raw attention is the last layer's row of the word's first token, and rollouts that row of the whole product."""
    encoding = subject.asked(9)
    place, attention = readout_of(subject.backend, encoding), subject.attention(encoding)
    maps = {each.kind: each.scores for each in subject.capture(encoding, margin(1)).maps}
    product = np.eye(encoding.length)
    for layer in attention.mean(axis=1):
        factor = layer + np.eye(encoding.length)
        product = factor / factor.sum(axis=1, keepdims=True) @ product
    norms = subject.norms(encoding)
    by_norm = np.eye(encoding.length)
    for layer in norms:
        by_norm = layer @ by_norm
    rows = {
        MapKind.RAW_ATTENTION: attention[-1].mean(axis=0)[place],
        MapKind.ATTENTION_ROLLOUT: product[place],
        MapKind.NORM_ROLLOUT: by_norm[place],
    }
    for kind, row in rows.items():
        units = np.bincount(encoding.unit_of_token + 1, weights=row, minlength=len(encoding.units) + 1)[1:]
        close(maps[kind], units / units.sum())
    elsewhere = {each.kind: each.scores for each in subject.capture(subject.asked(2), margin(1)).maps}
    assert all(np.abs(maps[kind] - elsewhere[kind]).max() > 1e-4 for kind in maps)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_gradients_are_those_of_the_words_margin(family: str, tmp_path: Path) -> None:
    """The gradient map is rolled out by autograd on the stock model's attention; gradient times input is Captum's."""
    subject = made(family, tmp_path)
    encoding, decision = subject.asked(5), margin(2)
    place, ids = readout_of(subject.backend, encoding), encoding.input_ids.tolist()
    kept: list[torch.Tensor] = []

    def keep(_: int, probabilities: torch.Tensor) -> torch.Tensor:
        kept.append(probabilities)
        return probabilities

    with Softmax(edit=keep):
        logits = subject.stock(**subject.arguments(ids)).logits[0, place]
    odds = logits[2] - torch.cat((logits[:2], logits[3:])).logsumexp(dim=0)
    gradients = torch.autograd.grad(odds, kept)
    product = np.eye(len(ids))
    for gradient, probabilities in zip(gradients, kept, strict=True):
        positive = (gradient * probabilities).detach().clamp(min=0).mean(dim=1)[0].double().numpy()
        product = product + positive @ product
    row = product[place] - np.eye(len(ids))[place]
    units = np.bincount(encoding.unit_of_token + 1, weights=row, minlength=len(encoding.units) + 1)[1:]
    maps = {each.kind: each.scores for each in subject.capture(encoding, decision).maps}
    close(maps[MapKind.GRADIENT_ROLLOUT], units / units.sum())

    def margins(given: torch.Tensor) -> torch.Tensor:
        rows = [subject.stock(**subject.arguments(each.tolist())).logits[0, place] for each in given]
        chances = torch.stack(rows).softmax(dim=-1)[:, 2]
        found: torch.Tensor = (chances / (1 - chances)).log()
        return found

    captum = LayerGradientXActivation(margins, subject.stock.get_input_embeddings())
    by_token = captum.attribute(torch.tensor([ids]))[0].sum(dim=-1).detach().double().numpy()
    _, at = subject.engine.path_gradients("tiny", encoding, decision, (1.0,))
    np.testing.assert_allclose(at[0], by_token, atol=1e-4 * np.abs(by_token).max())


def test_flow_starts_at_the_word(bert: Subject) -> None:
    """The layers that ATTENTION_FLOW is made of are the stock model's, and its network is read at the word."""
    encoding = bert.asked(4)
    attention = bert.attention(encoding).mean(axis=1)
    flows = [attention_flow(attention, encoding, place, 0, lambda: False) for place in range(encoding.length)]
    found = flows[readout_of(bert.backend, encoding)]
    assert found is not None
    others = [flow for flow in flows if flow is not None and np.allclose(flow.units, found.units)]
    assert len(others) == 1


def test_logits_are_taken_apart_at_the_word(subject: Subject) -> None:
    """What embeddings and biases contribute sums to the margin's direction in the logits of that word."""
    if MapKind.DECOMPOSITION not in subject.loaded.maps:
        pytest.skip(f"{subject.family} HAS NO DECOMPOSITION")
    encoding, decision = subject.asked(6), margin(3)
    logits = subject.logits(encoding.input_ids.tolist(), readout_of(subject.backend, encoding))
    found = subject.backend.decompose(encoding, decision)
    expected = float(decision.gradient(logits) @ logits)
    assert float(found.tokens.sum() + found.biases) == pytest.approx(expected, abs=2e-4 * max(1.0, abs(expected)))


def test_attention_that_is_asked_for_is_read_at_the_word(bert: Subject) -> None:
    """The tensor names the word's first token, and where only the read-out is wanted it is that query's."""
    encoding = bert.asked(7)
    captured = bert.capture(encoding, margin(0), attention=AttentionSelection(readout_only=True))
    assert captured.attention is not None
    place = captured.attention.readout
    assert place == readout_of(bert.backend, encoding)
    values = np.frombuffer(captured.attention.data, dtype="<f4").reshape(captured.attention.shape)
    close(values[:, :, 0], bert.attention(encoding)[:, :, place])


def every_kind(encoding: Encoding) -> list[BatchRow]:
    """Rows of each kind; the word that is asked about is among those removed in one of them."""
    units = np.arange(len(encoding.units))
    assert encoding.word is not None
    own = units == encoding.unit_of_token[encoding.word.token_start]
    rows = [
        Row(readout=True),
        *(Row(removed=gone, operator=op) for gone in (own, units % 3 == 0) for op in encoding.removals.usual),
        Row(edit=AttentionEdit.UNIFORM, readout=True),
        *(Row(edit=AttentionEdit.PERMUTED, seed=seed) for seed in (1, 2)),
    ]
    return variants(encoding, rows)


def same(found: RowResult, other: RowResult) -> bool:
    """To the last bit."""
    read = (found.readout is None) == (other.readout is None)
    if found.readout is not None and other.readout is not None:
        read = bool(np.array_equal(found.readout, other.readout))
    maps = all(np.array_equal(scores, other.maps[kind]) for kind, scores in found.maps.items())
    return read and maps and bool(np.array_equal(found.logits, other.logits)) and set(found.maps) == set(other.maps)


def test_no_company_changes_a_row(subject: Subject) -> None:
    """Rows about different words, of texts of one length, are the same to the last bit alone and together."""
    if not subject.backend.batch_is_neutral:
        pytest.skip(f"{subject.family} ROUNDS BY COMPANY ON THIS PROCESSOR: its rows are not batched together")
    texts = [TEXT, TEXT.replace("music", "acting"), TEXT]
    asked = [subject.asked(word, text) for word, text in zip((3, 0, 11), texts, strict=True)]
    rows = [row for each in asked for row in every_kind(each)]
    together = subject.engine.run("tiny", rows)
    mixed = [*range(1, len(rows), 2), *range(0, len(rows), 2)]
    for number, found in zip(mixed, subject.engine.run("tiny", [rows[i] for i in mixed]), strict=True):
        assert same(found, together[number])
    for number in range(0, len(rows), 3):
        (alone,) = subject.engine.run("tiny", [rows[number]])
        assert same(alone, together[number])
    distinct = len(rows) - len(asked)  # the word alone is removed in one way
    assert len({found.logits.tobytes() for found in together}) == distinct


def test_the_same_text_asked_about_two_words_has_two_seeds(bert: Subject) -> None:
    """What draws sets and samples answers tells questions about different words apart."""
    assert bert.asked(1).content != bert.asked(2).content
    assert replace(bert.asked(1), word=None).content == bert.asked(1).input_ids.astype("<i8").tobytes()


def test_a_word_is_named_by_number_or_character(bert: Subject) -> None:
    """Any character of a word names it, and its number the same; ids that are cut already have numbers alone."""
    text = "the unforgettable pictures"
    by_character = [bert.backend.encode(TextInput(text=text, word=WordRef(character=at))).word for at in (4, 10, 16)]
    assert by_character == [bert.asked(1, text).word] * 3
    encoding = bert.asked(1, text)
    ids = tuple(encoding.input_ids.tolist())
    second = bert.backend.encode(TokensInput(input_ids=ids, word=WordRef(index=1)))
    assert second.word is not None
    assert second.word.token_start == 2


@pytest.mark.parametrize(("family", "blank"), [("bert", "\n"), ("roberta", "\n"), ("xlm-roberta", " ")])
def test_blanks_in_front_of_a_word_are_not_read(family: str, blank: str, tmp_path: Path) -> None:
    """A blank that is a token of its own has another label; one that the tokenizer counts to the word is its first."""
    subject, text = made(family, tmp_path), f"the{blank}film is a  zebra"
    tokenizer = subject.backend._encoder.tokenizer
    batch, passed_over = tokenizer(text), []
    for number, word in enumerate(("the", "film", "is", "a", "zebra")):
        encoding = subject.asked(number, text)
        first = batch.word_to_tokens(batch.char_to_word(text.index(word))).start
        assert encoding.word is not None
        assert encoding.word.token_start == readout_of(subject.backend, encoding) == first
        assert encoding.word.text == word
        passed_over.append(first - encoding.units[number].token_start)
    assert any(passed_over) == (family == "roberta")


def test_a_word_of_a_grouped_text_keeps_its_place(bert: Subject) -> None:
    """Where words are grouped the answer is still that of the word alone, and its unit holds others, too."""
    few = replace(bert.backend._encoder, max_units=4)
    backend = bert.backend
    asked = bert.asked(6)
    try:
        backend._encoder = few
        grouped = bert.asked(6)
    finally:
        backend._encoder = replace(few, max_units=64)
    assert grouped.grouped
    assert grouped.word == asked.word
    assert grouped.word is not None
    assert grouped.word not in grouped.units
    assert grouped.staying.sum() > 1
    close(
        backend.run(variants(grouped, [Row()])).logits[0].double().numpy(),
        backend.run(variants(asked, [Row()])).logits[0].double().numpy(),
    )


def encoded(subject: Subject, given: TextInput) -> Encoding | set[str]:
    """What the model reads, or the fields for which it is refused."""
    try:
        return subject.backend.encode(given)
    except InvalidInput as refused:
        return {each.field for each in refused.violations}


@settings(max_examples=200, deadline=None)
@drawn(
    text=st.text(max_size=40),
    asked=st.builds(WordRef, index=st.integers(0, 8)) | st.builds(WordRef, character=st.integers(0, 40)),
)
def test_any_text_has_its_word_or_is_refused(alphabets: tuple[Subject, ...], text: str, asked: WordRef) -> None:
    """In any script: the place is a token of the word's own unit, and the word has the characters that name it."""
    for subject in alphabets:
        encoding = encoded(subject, TextInput(text=text, word=asked))
        if isinstance(encoding, set):
            assert encoding <= {"text.text", "text.word.index", "text.word.character"}
            continue
        word = encoding.word
        assert word is not None
        unit = encoding.units[encoding.unit_of_token[word.token_start]]
        assert unit.token_start <= word.token_start < word.token_end == unit.token_end
        assert word.text == text[word.char_start : word.char_end] == unit.text
        if asked.character is not None:
            assert word.char_start <= asked.character < word.char_end
        else:
            assert unit is encoding.units[asked.index or 0]


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        (TextInput(text=TEXT), "text.word", "required"),
        (TextInput(text=TEXT, word=WordRef(index=13)), "text.word.index", "between 0 and 12"),
        (TextInput(text=TEXT, word=WordRef(index=-1)), "text.word.index", "between 0 and 12"),
        (TextInput(text=TEXT, word=WordRef(character=1)), "text.word.character", "no word has character 1"),
        (TextInput(text=TEXT, word=WordRef(character=len(TEXT))), "text.word.character", "no word has character"),
        (TextInput(text="the film " * 400, word=WordRef(index=799)), "text.word", "beyond what the model reads"),
        (TextInput(text=TEXT, text_pair=TEXT, word=WordRef(index=0)), "text.text_pair", "reads one text"),
        (TokensInput(input_ids=(2, 9, 3)), "tokens.word", "required"),
        (TokensInput(input_ids=(2, 9, 3), word=WordRef(index=1)), "tokens.word.index", "between 0 and 0"),
        (TokensInput(input_ids=(2, 9, 3), word=WordRef(character=0)), "tokens.word.character", "no word has character"),
    ],
)
def test_a_word_that_cannot_be_asked_about_is_refused(
    bert: Subject, given: TextInput | TokensInput, field: str, says: str
) -> None:
    """The field is named, and what would be right."""
    with pytest.raises(InvalidInput, match=says) as refused:
        bert.backend.encode(given)
    (violation,) = refused.value.violations
    assert violation.field == field


def test_a_word_that_is_cut_in_the_middle_is_refused(bert: Subject) -> None:
    """Of the last word that the model reads only some pieces may be left: its label would be another word's."""
    count = 509  # one piece is left for the last word, between 509 words of one piece and the separator
    text = " ".join(["film"] * count + ["unforgettablefilm"] + ["film"] * 9)
    with pytest.raises(InvalidInput, match="beyond what the model reads") as refused:
        bert.asked(count, text)
    assert refused.value.violations[0].field == "text.word"
    assert bert.asked(count - 1, text).truncated


def test_models_of_other_tasks_refuse_a_word(tmp_path: Path) -> None:
    """A word that would be ignored is refused."""
    model = load_model(make_model("bert", tmp_path))
    for given, field in (
        (TextInput(text=TEXT, word=WordRef(index=0)), "text.word"),
        (TokensInput(input_ids=(2, 9, 3), word=WordRef(index=0)), "tokens.word"),
    ):
        with pytest.raises(InvalidInput, match="whole input") as refused:
            model.backend.encode(given)
        assert refused.value.violations[0].field == field


def test_what_is_declared_must_fit(bert: Subject) -> None:
    """Labels may be declared, and the task that it is; another task is refused."""
    names = ("O", "PERSON", "PLACE", "OTHER")
    assert load_model(bert.directory, declared=Declared(labels=names, task=Task.TOKEN_LABEL)).labels == names
    with pytest.raises(ModelRejected, match="its task is token_label"):
        load_model(bert.directory, declared=Declared(task=Task.SINGLE_LABEL))
    with pytest.raises(ModelRejected, match="has one"):
        load_model(make_model("bert", bert.directory.parent / "one", classes=1, words=True))


def test_an_export_is_refused(bert: Subject, tmp_path: Path) -> None:
    """An exported labeller of words is refused by name, before anything of it is read as a classifier of texts."""
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(bert.directory / name, tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"never read")
    with pytest.raises(ModelRejected, match="served from its Hugging Face directory"):
        load_model(tmp_path)


def test_every_text_family_is_here() -> None:
    """A family that is added without a test here is noticed."""
    texts = {name for name, family in ROWS.items() if family.modality.value == "text" and not family.causal}
    assert texts == {*FAMILIES, *OTHERS}
