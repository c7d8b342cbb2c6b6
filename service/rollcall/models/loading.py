"""Load a Hugging Face classifier from a local directory: safetensors only, never pickle, never remote code.

Or an export of one to ONNX, by whatever `exported` makes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.utils.logging import disable_progress_bar

from rollcall.backends.base import Backend
from rollcall.backends.prompt_backend import OTHER, PromptBackend
from rollcall.backends.tensors import DTYPES
from rollcall.backends.torch_backend import TorchBackend, TorchClassifier
from rollcall.backends.word_backend import WordBackend
from rollcall.domain.decision import Task
from rollcall.domain.errors import ModelRejected
from rollcall.domain.inputs import Modality, Threshold
from rollcall.domain.maps import READOUT_MAPS, MapKind, MissingMap
from rollcall.domain.model import UNDECLARED, Declared, ModelCard, ModelRef, SelfTest, TensorNames
from rollcall.domain.rows import TEXT_REMOVALS, Removals
from rollcall.domain.verdicts import EDITING_CHECKS, CalibrationRef, CheckKind, Scope
from rollcall.models.directory import (
    DESCRIBING,
    decision_of,
    declared_digest,
    encoder_of,
    files_digest,
    read_json,
    require_tokenizer,
    word_labels,
)
from rollcall.models.families import FAMILIES, Family
from rollcall.models.plausible import require_longest, require_plausible, require_stored
from rollcall.models.read_as import (
    not_shown,
    refusing_others,
    require_inputs,
    require_readout,
    row_for,
    with_paths_of,
)

WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
PREPROCESSOR = "preprocessor_config.json"
TEXTS = ("ForSequenceClassification", AutoModelForSequenceClassification)
WORDS = ("ForTokenClassification", AutoModelForTokenClassification)
PROMPTS = ("ForCausalLM", AutoModelForCausalLM)
OLD_NAMES = {"GPT2LMHeadModel": "GPT2ForCausalLM"}
"""Architectures that are called after another rule."""
IMAGES = ("ForImageClassification", AutoModelForImageClassification)
"""How architectures that can be loaded are called in config.json, and what loads them."""
EXPORTED = "*.onnx"
MIN_TOKENS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model that can run, with what is known about it."""

    backend: Backend
    family: str
    labels: tuple[str, ...]
    digest: str
    self_tests: tuple[SelfTest, ...]
    maps: tuple[MapKind, ...] = tuple(MapKind)
    lacking: tuple[MissingMap, ...] = ()
    scope: Scope = Scope.ALL_LAYERS
    modality: Modality = Modality.TEXT
    removals: Removals = TEXT_REMOVALS

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the required self-tests that failed."""
        return tuple(test.name for test in self.self_tests if test.required and not test.passed)

    def card(
        self,
        name: str,
        *,
        revision: str,
        max_units: int,
        max_characters: int,
        calibration: CalibrationRef,
        threshold: Threshold | None,
    ) -> ModelCard:
        """Describe the model under the operator's name and limits."""
        shape = self.backend.shape
        return ModelCard(
            ref=ModelRef(
                name=name,
                revision=revision,
                digest=self.digest,
                backend=self.backend.name,
                device=self.backend.device,
                dtype=self.backend.dtype,
            ),
            family=self.family,
            task=self.backend.task,
            labels=self.labels,
            layers=shape.layers,
            heads=shape.heads,
            max_tokens=shape.max_tokens,
            max_units=max_units,
            max_characters=max_characters,
            self_tests=self.self_tests,
            maps=self.maps,
            lacking=self.lacking,
            scope=self.scope,
            checks=tuple(kind for kind in CheckKind if self.scope is Scope.ALL_LAYERS or kind not in EDITING_CHECKS),
            operators=self.removals.every,
            calibration=calibration,
            threshold=threshold,
            text_pairs=self.modality is Modality.TEXT and self.backend.task not in {Task.NEXT_TOKEN, Task.TOKEN_LABEL},
            modality=self.modality,
            noise=self.backend.noise,
        )


def load_model(
    path: Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    max_units: int = 64,
    tokens: Sequence[str] = (),
    declared: Declared = UNDECLARED,
) -> LoadedModel:
    """Load and prove the model at `path`: a directory, or a file that was exported to ONNX.

    `tokens` are those among which a language model's next one is asked for; other models have none. `declared` goes
    before what the files say. Of a directory that holds both, its safetensors are served. Raises ModelRejected, saying
    what is wrong and what is supported.
    """
    if path.is_file() or (path.is_dir() and not any(path.glob(WEIGHTS[0])) and any(path.glob(EXPORTED))):
        _refuse(tokens, path)
        file = _exported(path)
        loaded = _load_exported(file, device=device, dtype=dtype, max_units=max_units, declared=declared)
    elif not path.is_dir():
        message = f"{path} is neither a directory nor an .onnx file"
        raise ModelRejected(message)
    else:
        loaded = _load_directory(
            path, device=device, dtype=dtype, max_units=max_units, tokens=tokens, declared=declared
        )
    return replace(loaded, digest=declared_digest(loaded.digest, declared))


def _refuse_declared(declared: Declared, family: Family, path: Path) -> None:
    """Raise ModelRejected for what may not be said of such a model."""
    if declared.tensors != TensorNames():
        message = f"{path} holds no exported graph, whose tensors could have names"
        raise ModelRejected(message)
    if family.modality is Modality.IMAGE and declared.max_tokens:
        message = f"{path} reads pictures, which are not cut: max_tokens is not for it"
        raise ModelRejected(message)
    if family.causal and (declared.labels or declared.task):
        message = f"{path} is a language model: it has tokens, and neither labels nor a task of another kind"
        raise ModelRejected(message)


def _refuse(tokens: Sequence[str], path: Path) -> None:
    if tokens:
        message = f"{path} is no language model: it has labels of its own, and no tokens to be asked for"
        raise ModelRejected(message)


def _exported(path: Path) -> Path:
    """The exported file itself; raises ModelRejected where there are several, or it is of another kind."""
    files = [path] if path.is_file() else sorted(path.glob(EXPORTED))
    if len(files) > 1:
        message = f"{path} holds several .onnx files ({', '.join(each.name for each in files)}): name one of them"
        raise ModelRejected(message)
    if files[0].suffix != ".onnx":
        message = f"{path} is no .onnx file"
        raise ModelRejected(message)
    return files[0]


def _load_exported(file: Path, *, device: str, dtype: str, max_units: int, declared: Declared) -> LoadedModel:
    try:
        from rollcall.models.exported import load_exported  # noqa: PLC0415 - its runtime is an extra
    except ImportError as error:
        message = f"{file} needs ONNX Runtime: pip install 'rollcall[onnx]' ({error})"
        raise ModelRejected(message) from error
    return load_exported(file, device=device, dtype=dtype, max_units=max_units, declared=declared)


def _load_directory(
    directory: Path, *, device: str, dtype: str, max_units: int, tokens: Sequence[str], declared: Declared
) -> LoadedModel:
    family, (suffix, classifier) = _family(directory, declared.family)
    _refuse_declared(declared, family, directory)
    disable_progress_bar()  # type: ignore[no-untyped-call] # it would draw between the lines of the log
    _check_files(directory, family.modality)
    if not family.causal:
        _refuse(tokens, directory)
    labels_words = suffix == WORDS[0]
    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        reader = _reader(directory, family.modality)
        if family.causal:
            task, labels = Task.NEXT_TOKEN, (*tokens, OTHER)
        elif labels_words:
            task, labels = Task.TOKEN_LABEL, word_labels(config, declared)
        else:
            task, labels = decision_of(config, declared)
        require_inputs(config, family, declared.family)
        require_stored(classifier, config, directory)
        model, report = classifier.from_pretrained(
            directory,
            config=config,
            dtype=DTYPES[dtype],
            attn_implementation=family.layout.stock,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except ModelRejected:
        raise
    except Exception as error:
        message = f"{directory} cannot be loaded: {type(error).__name__}: {error}"
        raise ModelRejected(message) from error
    if report["missing_keys"]:
        message = f"{directory} lacks weights, {min(report['missing_keys'])} among them: is it ...{suffix}?"
        raise ModelRejected(message)
    family = with_paths_of(family, declared.family, model)
    with refusing_others(directory, declared.family):
        if family.causal:
            backend: TorchClassifier = _language_model(
                family, model, reader, tokens, device=device, max_units=max_units, most=declared.max_tokens
            )
        else:
            backend = _backend(
                family, model, reader, task=task, device=device, max_units=max_units, most=declared.max_tokens
            )
        self_tests = backend.self_test()
    lacking = _lacking(backend, self_tests, family, declared)
    without = {each.kind for each in lacking}
    if any(test.required and not test.passed for test in self_tests):
        backend.use_stock_attention()
    return LoadedModel(
        backend=backend,
        family=family.title,
        labels=labels,
        digest=directory_digest(directory),
        self_tests=self_tests,
        maps=tuple(kind for kind in backend.maps if kind not in without),
        lacking=lacking,
        scope=Scope.INPUT_ONLY if family.unread else Scope.ALL_LAYERS,
        modality=family.modality,
        removals=family.removals,
    )


def _lacking(
    backend: Backend, self_tests: tuple[SelfTest, ...], family: Family, declared: Declared
) -> tuple[MissingMap, ...]:
    """Maps that the family has not; of a family that was named for it, those that were not shown to be its own.

    Raises ModelRejected for a model that was not shown to be of the family that is named.
    """
    if family.unread:
        return tuple(MissingMap(kind=kind, reason=family.unread, late=False) for kind in READOUT_MAPS)
    if not declared.family:
        return ()
    require_longest(backend, f"family: {family.title},")
    require_readout(self_tests, family)
    return not_shown(backend.maps, self_tests)


def _reader(directory: Path, modality: Modality) -> Any:  # noqa: ANN401 - a tokenizer or an image processor
    """What turns an input into what the model reads."""
    if modality is Modality.IMAGE:
        return AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]  # it has no annotations
            directory, local_files_only=True, trust_remote_code=False, backend="pil"
        )
    return AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)


def _classifiers(family: Family) -> tuple[tuple[str, Any], ...]:
    """What models of a family may be."""
    if family.modality is Modality.IMAGE:
        return (IMAGES,)
    return (PROMPTS,) if family.causal else (TEXTS, WORDS)


def _language_model(
    family: Family,
    model: PreTrainedModel,
    reader: Any,  # noqa: ANN401 - a tokenizer
    tokens: Sequence[str],
    *,
    device: str,
    max_units: int,
    most: int | None,
) -> TorchClassifier:
    """What runs a language model; raises ModelRejected where what it is to be asked for are no tokens of its own."""
    encoder = encoder_of(reader, model.config, reserved=0, max_units=max_units, causal=True, most=most)
    if len(tokens) < MIN_TOKENS or len(set(tokens)) != len(tokens):
        message = (
            f'a language model needs its tokens, e.g. tokens = [" yes", " no"]: at least {MIN_TOKENS}, all different'
        )
        raise ModelRejected(message)
    ids = [reader(token, add_special_tokens=False)["input_ids"] for token in tokens]
    for token, found in zip(tokens, ids, strict=True):
        if len(found) != 1 or reader.unk_token_id in found:
            message = f"{token!r} is no single token of this model"
            raise ModelRejected(message)
    return PromptBackend(model, encoder, family.layout, tokens=[found[0] for found in ids], device=device)


def _backend(
    family: Family,
    model: PreTrainedModel,
    reader: Any,  # noqa: ANN401 - likewise
    *,
    task: Task,
    device: str,
    max_units: int,
    most: int | None,
) -> TorchClassifier:
    """What runs the model; raises ModelRejected."""
    config: Any = model.config
    if family.modality is Modality.IMAGE:
        from rollcall.backends.image_backend import ImageBackend  # noqa: PLC0415 - its imaging library is an extra
        from rollcall.backends.images import image_encoder  # noqa: PLC0415

        prefix = family.prefix_of(config)
        described = family.layout.config_of(config)
        images = image_encoder(reader, described, prefix=prefix, max_units=max_units, removals=family.removals)
        return ImageBackend(model, images, family.layout, task=task, device=device)
    reserved = int(config.pad_token_id) + 1 if family.positions_after_padding else 0
    texts = encoder_of(reader, config, reserved=reserved, max_units=max_units, most=most)
    if task is Task.TOKEN_LABEL:
        return WordBackend(model, texts, family.layout, takes_type_ids=family.takes_type_ids, device=device)
    return TorchBackend(model, texts, family.layout, task=task, takes_type_ids=family.takes_type_ids, device=device)


def directory_digest(directory: Path) -> str:
    """Digest of the files that decide what the model answers: weights, configuration, tokenizer or preprocessing."""
    return files_digest(path for pattern in (*WEIGHTS, *DESCRIBING) for path in directory.glob(pattern))


def _check_files(directory: Path, modality: Modality) -> None:
    """Refuse weights that are not safetensors of this directory, also through an index; and what reads no input."""
    if not any(directory.glob("*.safetensors")):
        message = f"{directory} holds no .safetensors file; weights in other formats are not loaded"
        raise ModelRejected(message)
    for index in directory.glob("*.safetensors.index.json"):
        weight_map = read_json(index).get("weight_map")
        for name in set(weight_map.values()) if isinstance(weight_map, dict) else {None}:
            plain = isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")
            if not plain or not (directory / str(name)).is_file():
                message = f"{index} leads to {name}, which is no .safetensors file of its directory"
                raise ModelRejected(message)
    if modality is Modality.TEXT:
        require_tokenizer(directory)
        return
    if find_spec("PIL") is None:
        message = f"{directory} reads images, which needs Pillow: pip install 'rollcall[images]'"
        raise ModelRejected(message)
    if not (directory / PREPROCESSOR).is_file():
        message = f"{directory} holds no {PREPROCESSOR}"
        raise ModelRejected(message)


def _family(directory: Path, named: str) -> tuple[Family, tuple[str, Any]]:
    """The row of a directory's model type, or that `named` for it, and how its architecture is called and loaded.

    Raises ModelRejected.
    """
    raw = read_json(directory / "config.json")
    require_plausible(raw, directory / "config.json")
    supported = ", ".join(row.title for row in FAMILIES.values())
    model_type = str(raw.get("model_type"))
    family = row_for(model_type, named) if named else FAMILIES.get(model_type)
    if family is None:
        message = f"{directory}: model type {raw.get('model_type')!r} is not supported; supported: {supported}"
        raise ModelRejected(message)
    architectures = raw.get("architectures") or []
    names = [OLD_NAMES.get(str(name), str(name)) for name in architectures]
    known = _classifiers(family)
    classifier = next((each for each in known if any(name.endswith(each[0]) for name in names)), None)
    if classifier is None:
        wanted = " nor ".join(f"...{suffix}" for suffix, _ in known)
        message = f"{directory}: {architectures or 'nothing'} is no {wanted}; supported: {supported}"
        raise ModelRejected(message)
    if raw.get("is_decoder"):
        message = f"{directory}: decoders are not supported; supported: {supported} encoders"
        raise ModelRejected(message)
    return family, classifier
