"""Loading: real files of a tiny model, spoilt in every way that a deployment spoils them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rollcall.backends.base import variants
from rollcall.backends.torch_backend import TorchBackend
from rollcall.domain.decision import Task
from rollcall.domain.errors import ModelRejected
from rollcall.domain.inputs import TextInput
from rollcall.domain.model import Declared, TensorNames
from rollcall.domain.rows import Row
from rollcall.models.families import FAMILIES
from rollcall.models.loading import directory_digest, load_model
from tests.decoders import FAMILIES as DECODER_FAMILIES
from tests.pictures import FAMILIES as PICTURE_FAMILIES
from tests.pictures import make_vision_model
from tests.tiny import FAMILIES as TINY_FAMILIES
from tests.tiny import OTHERS, TEXT, make_model

Spoil = Callable[[Path], None]
WEIGHTS = "model.safetensors"


def configured(**changes: Any) -> Spoil:  # noqa: ANN401 - the fields of config.json
    """Change fields of config.json; None takes one out."""
    return lambda directory: _edit(directory / "config.json", changes)


def tokenized(**changes: Any) -> Spoil:  # noqa: ANN401 - the fields of tokenizer_config.json
    """Change fields of tokenizer_config.json."""
    return lambda directory: _edit(directory / "tokenizer_config.json", changes)


def _edit(path: Path, changes: dict[str, Any]) -> None:
    fields = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))


def replaced(name: str, content: bytes) -> Spoil:
    """Put other bytes into a file."""

    def spoil(directory: Path) -> None:
        (directory / name).write_bytes(content)

    return spoil


def reweighted(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Spoil:
    """Change the weights."""

    def spoil(directory: Path) -> None:
        save_file(change(load_file(directory / WEIGHTS)), directory / WEIGHTS, metadata={"format": "pt"})

    return spoil


def without_safetensors(directory: Path) -> None:
    """Leave the weights in a pickle only."""
    torch.save(load_file(directory / WEIGHTS), directory / "pytorch_model.bin")
    (directory / WEIGHTS).unlink()


def other_safetensors(directory: Path) -> None:
    """Leave the weights in a pickle, beside safetensors of something else."""
    torch.save(load_file(directory / WEIGHTS), directory / "pytorch_model.bin")
    (directory / WEIGHTS).rename(directory / "vision.safetensors")


def truncated(directory: Path) -> None:
    """Stop a download half-way."""
    content = (directory / WEIGHTS).read_bytes()
    (directory / WEIGHTS).write_bytes(content[: len(content) // 2])


def without_a_shard(directory: Path) -> None:
    """Lose one of two shards."""
    names = list(load_file(directory / WEIGHTS))
    (directory / WEIGHTS).rename(directory / "first.safetensors")
    shards = {name: "first.safetensors" if i else "second.safetensors" for i, name in enumerate(names)}
    (directory / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))


def declared_larger(directory: Path) -> None:
    """Say in the header that a tensor has a terabyte."""
    header = b'{"a":{"dtype":"F32","shape":[1048576,262144],"data_offsets":[0,1099511627776]}}'
    (directory / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))


REJECTED: dict[str, tuple[Spoil, str]] = {
    "weights in a pickle": (without_safetensors, "holds no .safetensors file; weights in other formats are not loaded"),
    "a pickle beside safetensors of something else": (other_safetensors, "no file named model.safetensors"),
    "no configuration": (lambda directory: (directory / "config.json").unlink(), "config.json cannot be read"),
    "a configuration that is not text": (replaced("config.json", b"\xff\xfe{"), "config.json cannot be read"),
    "a configuration that is not JSON": (replaced("config.json", b"{"), "config.json cannot be read"),
    "another architecture": (
        configured(model_type="deberta"),
        "model type 'deberta' is not supported",
    ),
    "no architecture": (configured(model_type=None), "model type None is not supported"),
    "another head": (configured(architectures=["BertForMaskedLM"]), "is no ...ForSequenceClassification"),
    "no head": (configured(architectures=None), "is no ...ForSequenceClassification"),
    "a regression": (configured(problem_type="regression"), "regression models are not supported"),
    "a single class": (configured(id2label={"0": "a"}, label2id={"a": 0}), "regression models are not supported"),
    "equal labels": (configured(id2label={"0": "a", "1": "a", "2": "b"}), "two classes have the same label"),
    "a decoder": (configured(is_decoder=True), "decoders are not supported"),
    "no weights for the head": (
        reweighted(lambda weights: {n: w for n, w in weights.items() if not n.startswith("classifier")}),
        "lacks weights, classifier.bias among them",
    ),
    "half a file": (truncated, "cannot be loaded"),
    "zeros for weights": (replaced(WEIGHTS, bytes(100)), "cannot be loaded"),
    "an empty file": (replaced(WEIGHTS, b""), "cannot be loaded"),
    "a lost shard": (without_a_shard, "second.safetensors"),
    "weights of another width": (configured(hidden_size=64), "cannot be loaded"),
    "a billion layers": (configured(num_hidden_layers=10**9), "num_hidden_layers is 1000000000, more than 1000"),
    "infinitely many classes": (configured(num_labels=float("inf")), "num_labels is inf, more than 100000"),
    "many layers that are not there": (configured(num_hidden_layers=300), "numbers, and its files hold"),
    "a wider model than there is": (configured(hidden_size=4096), "numbers, and its files hold"),
    "a header that is longer than its file": (replaced(WEIGHTS, b"\xff" * 7 + b"\x00{}"), "cannot be loaded"),
    "a tensor that is larger than its file": (declared_larger, "cannot be loaded"),
    "a spoilt tokenizer": (replaced("tokenizer.json", b"{"), "cannot be loaded"),
    "no mask and no unknown token": (tokenized(mask_token=None, unk_token=None), "neither a mask nor an unknown token"),
    "no classification token": (tokenized(cls_token=None), "no classification or separator token"),
    "no separator token": (tokenized(sep_token=None), "no classification or separator token"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_what_cannot_be_served_is_rejected_in_words(directory: Path, case: str) -> None:
    """Whoever deploys a model that cannot be served reads why, in a sentence and not in a traceback."""
    spoil, says = REJECTED[case]
    spoil(directory)
    with pytest.raises(ModelRejected) as rejection:
        load_model(directory)
    message = str(rejection.value)
    assert says in message
    assert "Traceback" not in message
    assert ".py" not in message
    assert len(message) < 500


def test_a_directory_that_is_not_there_is_rejected(tmp_path: Path) -> None:
    """A path that leads nowhere is named."""
    with pytest.raises(ModelRejected, match=r"nowhere is neither a directory nor an \.onnx file"):
        load_model(tmp_path / "nowhere")


def test_what_is_supported_is_said(directory: Path) -> None:
    """Whoever brings another architecture reads which ones are served."""
    configured(model_type="t5")(directory)
    with pytest.raises(ModelRejected, match="BERT, DistilBERT, RoBERTa, XLM-R, CamemBERT, ELECTRA, ALBERT, ModernBERT"):
        load_model(directory)
    assert set(FAMILIES) == {*TINY_FAMILIES, *OTHERS, *PICTURE_FAMILIES, *DECODER_FAMILIES}


IMAGE_SPOILS: dict[str, tuple[Spoil, str]] = {
    "no preprocessing": (lambda d: (d / "preprocessor_config.json").unlink(), "holds no preprocessor_config.json"),
    "broken preprocessing": (replaced("preprocessor_config.json", b"{"), "cannot be loaded"),
    "another head": (configured(architectures=["ViTForMaskedImageModeling"]), "is no ...ForImageClassification"),
    "grey": (configured(num_channels=1), "size mismatch|only colour images|cannot be loaded"),
    "other patches": (configured(patch_size=5), "cannot be loaded|do not fall into square patches"),
}


@pytest.mark.parametrize("name", IMAGE_SPOILS)
def test_an_image_model_that_cannot_be_served_is_rejected_in_words(tmp_path: Path, name: str) -> None:
    """Its files are looked at as those of a text model are, and its preprocessing in the place of a tokenizer."""
    spoil, reason = IMAGE_SPOILS[name]
    directory = make_vision_model("vit", tmp_path)
    spoil(directory)
    with pytest.raises(ModelRejected, match=reason):
        load_model(directory)


def test_without_an_imaging_library_the_reason_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow is an extra: who lacks it reads what to install."""
    directory = make_vision_model("vit", tmp_path)
    monkeypatch.setattr("rollcall.models.loading.find_spec", lambda name: None if name == "PIL" else object())
    with pytest.raises(ModelRejected, match=r"pip install 'rollcall\[images\]'"):
        load_model(directory)


def not_an_object(directory: Path) -> None:
    """Write a configuration that is JSON, and no object."""
    (directory / "config.json").write_text("[]")


def without_tokenizer(directory: Path) -> None:
    """Forget to copy the tokenizer: the library makes up one that knows no word."""
    (directory / "tokenizer.json").unlink()
    (directory / "tokenizer_config.json").unlink()


def pickled_shard(directory: Path) -> None:
    """Let an index lead from safetensors to a pickle, past the digest too."""
    weights = load_file(directory / WEIGHTS)
    torch.save(weights, directory / "shard.bin")
    (directory / WEIGHTS).rename(directory / "unused.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "shard.bin")}
    (directory / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


def stranger(directory: Path) -> None:
    """Let an index lead out of the directory, past the digest."""
    names = list(load_file(directory / WEIGHTS))
    (directory / WEIGHTS).rename(directory.parent / "elsewhere.safetensors")
    (directory / "unused.safetensors").write_bytes(b"")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "../elsewhere.safetensors")}
    (directory / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


def too_few_positions(directory: Path) -> None:
    """Make a model that reads fewer tokens than the load self-test sends."""
    make_model("bert", directory, max_position_embeddings=12)


STILL_ACCEPTED: dict[str, Spoil] = {
    "a configuration that is no object": not_an_object,
    "no tokenizer at all": without_tokenizer,
    "an index that leads to a pickle": pickled_shard,
    "an index that leads out of the directory": stranger,
    "positions for fewer tokens than the self-test sends": too_few_positions,
}


@pytest.mark.parametrize("case", STILL_ACCEPTED)
def test_what_must_be_rejected_too(directory: Path, case: str) -> None:
    """Files that look like a model and are none, or not a whole one, are rejected as well."""
    STILL_ACCEPTED[case](directory)
    with pytest.raises(ModelRejected):
        load_model(directory)


def test_a_healthy_directory_is_loaded(directory: Path) -> None:
    """What is right is served: labels, limits, digest and a full set of passed tests."""
    configured(id2label={"0": "bad", "1": "so-so", "2": "good"})(directory)
    loaded = load_model(directory)
    assert loaded.labels == ("bad", "so-so", "good")
    assert loaded.family == "BERT"
    assert loaded.failed == ()
    assert loaded.digest == directory_digest(directory)
    shape = loaded.backend.shape
    assert (shape.layers, shape.heads, shape.classes, shape.max_tokens) == (3, 4, 3, 512)
    assert loaded.backend.task is Task.SINGLE_LABEL
    assert (loaded.backend.name, loaded.backend.device, loaded.backend.dtype) == ("torch", "cpu", "float32")


def test_a_multi_label_model_is_one(directory: Path) -> None:
    """A model whose labels do not exclude each other is asked about each on its own."""
    configured(problem_type="multi_label_classification")(directory)
    assert load_model(directory).backend.task is Task.MULTI_LABEL


def test_code_in_a_directory_is_never_run(directory: Path) -> None:
    """A configuration that asks for code of its own gets the library's, and its file is not opened."""
    (directory / "evil.py").write_text("raise SystemExit\n")
    configured(auto_map={"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"})(directory)
    assert load_model(directory).failed == ()


def test_what_is_declared_goes_before_the_files(directory: Path) -> None:
    """Labels that nobody wrote into the configuration, and a task that it leaves out."""
    loaded = load_model(directory, declared=Declared(labels=("x", "y", "z"), task=Task.MULTI_LABEL))
    assert (loaded.labels, loaded.backend.task) == (("x", "y", "z"), Task.MULTI_LABEL)
    for declared, says in (
        (Declared(task=Task.NEXT_TOKEN), "is a classifier"),
        (Declared(labels=("x", "y")), "2 labels are declared"),
        (Declared(tensors=TensorNames(output="p")), "holds no exported graph"),
    ):
        with pytest.raises(ModelRejected, match=says):
            load_model(directory, declared=declared)


def test_texts_are_cut_where_it_is_declared(directory: Path) -> None:
    """As whoever served it before cut them; never later than the model reads. It is another model by its digest."""
    loaded = load_model(directory, declared=Declared(max_tokens=20))
    assert loaded.backend.shape.max_tokens == 20
    assert loaded.backend.encode(TextInput(text=TEXT * 9)).length == 20
    assert loaded.digest != load_model(directory).digest
    assert load_model(directory, declared=Declared(max_tokens=10_000)).backend.shape.max_tokens == 512


def test_half_precision_weights_are_served_in_single(directory: Path) -> None:
    """Weights stored in half precision are computed with in float32."""
    reweighted(lambda weights: {name: weight.half() for name, weight in weights.items()})(directory)
    loaded = load_model(directory)
    assert loaded.backend.dtype == "float32"
    assert loaded.failed == ()


def test_a_model_without_a_mask_token_uses_the_unknown_token(directory: Path) -> None:
    """Words can be replaced in a vocabulary without a mask token."""
    tokenized(mask_token=None)(directory)
    backend = load_model(directory).backend
    assert isinstance(backend, TorchBackend)
    encoder = backend._encoder
    assert encoder.removal_token == encoder.tokenizer.unk_token_id


@pytest.mark.parametrize("family", [*TINY_FAMILIES, *OTHERS])
def test_limits_are_the_models(family: str, tmp_path: Path) -> None:
    """The longest input is what the model has positions for, and it runs; the tokenizer may ask for less."""
    directory = make_model(family, tmp_path, max_position_embeddings=32)
    backend = load_model(directory).backend
    offset = 2 if family in {"roberta", "xlm-roberta", "camembert", "mpnet"} else 0
    assert backend.shape.max_tokens == 32 - offset
    longest = backend.encode(TextInput(text=TEXT * 9))
    assert longest.length == 32 - offset
    assert longest.truncated
    assert backend.run(variants(longest, [Row()])).logits.isfinite().all()
    tokenized(model_max_length=20)(directory)
    assert load_model(directory).backend.shape.max_tokens == 20


def test_units_are_limited_as_asked(directory: Path) -> None:
    """The deployment decides how many units people get to read."""
    backend = load_model(directory, max_units=5).backend
    encoding = backend.encode(TextInput(text=TEXT))
    assert encoding.grouped
    assert len(encoding.units) <= 5


def test_the_digest_knows_every_byte(directory: Path) -> None:
    """One flipped byte in any file of weights, configuration or tokenizer is another model."""
    (directory / "vocab.txt").write_text("a\nb\n")
    (directory / "spiece.model").write_bytes(b"\0\1")
    digest = directory_digest(directory)
    assert digest.startswith("sha256:")
    assert len(digest) == len("sha256:") + 64
    files = [path for path in directory.iterdir() if path.is_file()]
    assert len(files) == 6
    for path in files:
        content = path.read_bytes()
        for position in (0, len(content) // 2, len(content) - 1):
            flipped = bytearray(content)
            flipped[position] ^= 1
            path.write_bytes(flipped)
            assert directory_digest(directory) != digest
        path.write_bytes(content)
        assert directory_digest(directory) == digest


def test_the_digest_knows_names_and_borders(tmp_path: Path) -> None:
    """Bytes that move from one file to another, and files that change their name, are another model."""
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    for directory, files in (
        (first, {"a.json": b"12", "b.json": b"3"}),
        (second, {"a.json": b"1", "b.json": b"23"}),
        (third, {"a.json": b"12", "c.json": b"3"}),
    ):
        directory.mkdir()
        for name, content in files.items():
            (directory / name).write_bytes(content)
    assert len({directory_digest(directory) for directory in (first, second, third)}) == 3
    (first / "README.md").write_text("about")
    assert directory_digest(first) == GOLDEN


GOLDEN = "sha256:030fe1598ec6029c3da1b76972973fbed78fdc567358ca3422cd2f888b851663"
"""Of a.json with "12" and b.json with "3". Answers recorded years ago name digests: this must never change."""
