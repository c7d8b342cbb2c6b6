"""Architectures without a row of their own, read by the row of another: what is proved, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForSequenceClassification

from rollcall.backends.base import CaptureRequest, variants
from rollcall.domain.decision import Decision, Task
from rollcall.domain.errors import ModelRejected
from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import AttentionSelection, MapKind, MapOptions
from rollcall.domain.model import Declared
from rollcall.domain.rows import Row
from rollcall.models.loading import load_model
from tests.decoders import POSITIONS, word_tokenizer
from tests.tiny import TEXT, make_model, make_tokenizer

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "num_labels": 3,
    "max_position_embeddings": 514,
}
CLOSE = 1e-5


def make_other(model_type: str, tokenizer: str, directory: Path, **overrides: Any) -> Path:  # noqa: ANN401 - config fields
    """Save a tiny random classifier of an architecture that has no row."""
    made = make_tokenizer(tokenizer)
    torch.manual_seed(0)
    fields = {**SMALL, "vocab_size": len(made), "pad_token_id": made.pad_token_id, **overrides}
    config = CONFIG_MAPPING[model_type](**fields)
    model = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call] # it has no annotations
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:
                weight.add_(torch.randn_like(weight) * 0.3)
            elif "embeddings" not in name:
                weight.mul_(8 if "query" in name or "key" in name else 4)
    model.save_pretrained(directory)
    made.save_pretrained(directory)
    return directory


def test_another_bert_has_all_that_bert_has(tmp_path: Path) -> None:
    """Predictions and attention are the stock model's, every self-test holds, and no map is missing."""
    directory = make_other("ernie", "bert", tmp_path / "ernie")
    loaded = load_model(directory, declared=Declared(family="bert"))
    assert (loaded.family, loaded.failed, loaded.lacking) == ("ernie, read as BERT", (), ())
    assert loaded.maps == tuple(MapKind)
    assert all(test.passed for test in loaded.self_tests)
    stock = AutoModelForSequenceClassification.from_pretrained(directory, attn_implementation="eager")
    encoding = loaded.backend.encode(TextInput(text=TEXT))
    with torch.no_grad():
        expected = stock(torch.from_numpy(encoding.input_ids)[None], output_attentions=True)
    assert (loaded.backend.predict(variants(encoding, [Row()])) - expected.logits).abs().max() <= CLOSE
    request = CaptureRequest(
        maps=frozenset(),
        options=MapOptions(),
        decide=lambda _: Decision(task=Task.SINGLE_LABEL, target=0),
        attention=AttentionSelection(readout_only=False),
    )
    selected = loaded.backend.capture(encoding, request).selected
    assert selected is not None
    found = np.frombuffer(selected.data, dtype=np.float32).reshape(selected.shape)
    assert np.abs(found - torch.stack(expected.attentions)[:, 0].numpy()).max() <= CLOSE


def test_a_named_row_makes_it_another_model(tmp_path: Path) -> None:
    """What is read otherwise may answer otherwise: a calibration of the one is none of the other."""
    directory = make_other("data2vec-text", "roberta", tmp_path / "data2vec", type_vocab_size=1)
    by_roberta, by_camembert = (
        load_model(directory, declared=Declared(family=named)) for named in ("roberta", "camembert")
    )
    assert by_roberta.maps == tuple(MapKind)
    assert by_roberta.digest != by_camembert.digest


def test_without_an_exact_decomposition_norms_are_not_offered(tmp_path: Path) -> None:
    """Nothing else shows where its values go; everything that is proved is there."""
    directory = make_other("data2vec-text", "roberta", tmp_path / "data2vec", type_vocab_size=1)
    loaded = load_model(directory, declared=Declared(family="bert"))
    assert loaded.failed == ()
    assert MapKind.ATTENTION_ROLLOUT in loaded.maps
    assert MapKind.NORM_ROLLOUT not in loaded.maps
    assert "nothing shows" in loaded.lacking[0].reason


def test_another_decoder_is_read_as_llama(tmp_path: Path) -> None:
    """Norms in other places than Llama's are no matter to its attention."""
    tokenizer = word_tokenizer(["film", "music", "the", "is", "good"])
    fields = {**SMALL, "num_key_value_heads": 2, "max_position_embeddings": POSITIONS, "vocab_size": len(tokenizer)}
    del fields["num_labels"]
    ids = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": 1, "eos_token_id": 2}
    config = CONFIG_MAPPING["olmo2"](**fields, **ids)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)  # type: ignore[no-untyped-call] # likewise
    tokenizer.save_pretrained(tmp_path)
    loaded = load_model(tmp_path, declared=Declared(family="llama"), tokens=["film", "music"])
    assert (loaded.family, loaded.failed) == ("olmo2, read as Llama", ())
    assert MapKind.GRADIENT_ROLLOUT in loaded.maps


REFUSED = {
    "a row that is none": ("ernie", "nonsense", "family 'nonsense' is none that an architecture can be read as: bert,"),
    "pictures": ("ernie", "vit", "family 'vit' is none"),
    "types of tokens left out": ("ernie", "roberta", "family: ernie knows 2 types of tokens"),
    "norms elsewhere": ("xlm-roberta-xl", "bert", "family: it is not built as bert is"),
    "another block": ("eurobert", "bert", "attention was called from"),
    "another task": ("ernie", "llama", r"is no \.\.\.ForCausalLM"),
    "several tokens read": ("roc_bert", "bert", "was not shown to classify by its first token alone"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_built_so_is_refused(tmp_path: Path, case: str) -> None:
    """The message names the key, and says what does not fit."""
    model_type, named, says = REFUSED[case]
    directory = make_other(model_type, "bert", tmp_path / "other")
    with pytest.raises(ModelRejected, match=says):
        load_model(directory, declared=Declared(family=named))


def test_what_has_a_row_is_read_by_it(tmp_path: Path) -> None:
    """Nobody makes a BERT something else."""
    directory = make_model("bert", tmp_path / "bert")
    with pytest.raises(ModelRejected, match="family is for architectures without a row of their own, and bert has one"):
        load_model(directory, declared=Declared(family="electra"))


def test_positions_that_are_not_there_are_found_out(tmp_path: Path) -> None:
    """A row that counts positions from 0 reads beyond the last of a model that counts them from its padding."""
    directory = make_other(
        "data2vec-text", "roberta", tmp_path / "short", type_vocab_size=1, max_position_embeddings=400
    )
    with pytest.raises(ModelRejected, match="family: data2vec-text, read as BERT, cannot read the 400 tokens"):
        load_model(directory, declared=Declared(family="bert"))
    assert load_model(directory, declared=Declared(family="roberta")).backend.shape.max_tokens < 400
