"""Tiny random models of every family with tokenizers of their own kind: real loading code, no downloads."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BertForSequenceClassification,
    CamembertConfig,
    CamembertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    MPNetConfig,
    MPNetForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from rollcall.backends.torch_backend import TorchBackend
from rollcall.engine.engine import Engine
from rollcall.models.families import FAMILIES as ROWS
from rollcall.models.loading import LoadedModel, load_model

CORPUS = (
    "the film is a quiet triumph and I loved every minute of it",
    "a dull, lifeless story; I did not like the ending at all!",
    "it isn't bad, but the acting could have been better.",
    "wonderful music, terrible dialogue, unforgettable pictures",
    "nobody expected such a moving and funny little comedy",
    "我喜欢这部电影。 これはペンです",
)
"""What the tokenizers are trained on; tests speak this language so that words are not all unknown."""

TEXT = "I did not like the film, but the music is wonderful!"
FAMILIES = ("bert", "distilbert", "roberta", "xlm-roberta", "camembert", "electra", "albert")
"""Those whose blocks are BERT's in all but names: norms behind what is added, and everything that is shared."""
OTHERS = ("modernbert", "deberta-v2", "mpnet")
_ATTENDING = ("query", "key", "q_lin", "k_lin", "Wqkv", "attn.q.", "attn.k.")
VOCABULARY = 300
POSITIONS = 512


def make_model(
    family: str,
    directory: Path,
    *,
    classes: int = 3,
    seed: int = 0,
    offsets: float = 0.3,
    words: bool = False,
    **overrides: Any,  # noqa: ANN401 - config fields
) -> Path:
    """Save a tiny random model and its tokenizer into `directory`; one that labels `words`, if asked for.

    Its attention is sharp, and no bias is 0 and no gain 1, by some `offsets`: whoever forgets one gets other numbers.
    """
    tokenizer = make_tokenizer(family)
    torch.manual_seed(seed)
    model = _architecture(family, len(tokenizer), classes, tokenizer.pad_token_id, overrides)
    if words:
        model = AutoModelForTokenClassification.from_config(model.config)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:
                weight.add_(torch.randn_like(weight) * offsets)
            elif "embeddings" not in name:
                weight.mul_(8 if any(part in name for part in _ATTENDING) else 4)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@dataclass(frozen=True, kw_only=True)
class Tiny:
    """One tiny model as the service loads it, and beside it the stock library's own view of the same files."""

    family: str
    directory: Path
    dtype: torch.dtype = torch.float32
    words: bool = False
    """Whether it labels words."""

    @cached_property
    def loaded(self) -> LoadedModel:
        """Loaded and proved by the service; in another dtype only after that."""
        loaded = load_model(self.directory)
        assert isinstance(loaded.backend, TorchBackend)
        loaded.backend._model.to(self.dtype)
        return loaded

    @cached_property
    def sdpa(self) -> PreTrainedModel:
        """The stock model with the attention that the library gives it."""
        return self.stock(ROWS[self.family].layout.stock)

    @cached_property
    def eager(self) -> PreTrainedModel:
        """The stock model with explicit attention."""
        return self.stock("eager")

    def stock(self, attention: str) -> PreTrainedModel:
        """Load the stock model, knowing nothing of the service."""
        kind = AutoModelForTokenClassification if self.words else AutoModelForSequenceClassification
        model: PreTrainedModel = kind.from_pretrained(self.directory, attn_implementation=attention, dtype=self.dtype)
        return model

    @property
    def backend(self) -> TorchBackend:
        """What runs it."""
        assert isinstance(self.loaded.backend, TorchBackend)
        return self.loaded.backend

    def engine(self) -> Engine:
        """Run it under the name "tiny"."""
        return Engine(models={"tiny": self.loaded})


@dataclass(frozen=True, kw_only=True)
class Zoo:
    """Tiny models made when first asked for, each in a folder of its own below `root`."""

    root: Path
    kept: dict[str, Tiny] = field(default_factory=dict)

    def __getitem__(self, family: str) -> Tiny:
        """The family's model."""
        if family not in self.kept:
            self.kept[family] = Tiny(family=family, directory=make_model(family, self.root / family))
        return self.kept[family]

    def precise(self, family: str) -> Tiny:
        """The same model in double precision, on both sides."""
        key = f"{family} in double"
        if key not in self.kept:
            self.kept[key] = Tiny(family=family, directory=self[family].directory, dtype=torch.float64)
        return self.kept[key]


def make_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """WordPiece for the BERT family, byte-level BPE for RoBERTa, Unigram with metaspace for XLM-R and ALBERT."""
    pad, unknown, cls, sep, mask = specials = _specials(family)
    ordered = _ordered(specials)
    if family == "roberta":
        tokenizer = Tokenizer(models.BPE(unk_token=unknown))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer: Any = trainers.BpeTrainer(
            vocab_size=VOCABULARY + 256,
            special_tokens=ordered,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    elif family in {"xlm-roberta", "camembert", "albert"}:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=VOCABULARY, special_tokens=ordered, unk_token=unknown, show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token=unknown))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=ordered, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    typed = sep == "[SEP]"
    between = sep if typed else f"{sep} {sep}"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {between} $B:1 {sep}:1" if typed else f"{cls} $A {between} $B {sep}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (cls, sep)],
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # its constructor has no annotations
        tokenizer_object=tokenizer,
        cls_token=cls,
        sep_token=sep,
        pad_token=pad,
        unk_token=unknown,
        mask_token=mask,
        model_max_length=POSITIONS,
        model_input_names=["input_ids", "attention_mask"] + (["token_type_ids"] if typed else []),
    )


def _specials(family: str) -> tuple[str, str, str, str, str]:
    """Padding, unknown, classification, separator and mask token, as the family calls them."""
    if family in {"roberta", "xlm-roberta", "camembert", "mpnet"}:
        return "<pad>", "<unk>", "<s>", "</s>", "<mask>"
    if family == "albert":
        return "<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"
    return "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"


def _ordered(specials: tuple[str, ...]) -> list[str]:
    """RoBERTa's padding has id 1, which its positions count on; the others' has 0."""
    pad, unknown, cls, sep, mask = specials
    return [cls, pad, sep, unknown, mask] if cls == "<s>" else [pad, unknown, cls, sep, mask]


def _architecture(family: str, vocabulary: int, classes: int, pad: int, overrides: dict[str, Any]) -> PreTrainedModel:
    common: dict[str, Any] = {"vocab_size": vocabulary, "num_labels": classes, "pad_token_id": pad}
    bert: dict[str, Any] = {
        "hidden_size": 32,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "intermediate_size": 64,
        "max_position_embeddings": POSITIONS,
    }
    if family == "distilbert":
        distil = {"dim": 32, "n_heads": 4, "n_layers": 3, "hidden_dim": 64, "max_position_embeddings": POSITIONS}
        return DistilBertForSequenceClassification(DistilBertConfig(**{**common, **distil, **overrides}))
    small = {"embedding_size": 16}
    offset = {"max_position_embeddings": POSITIONS + 2}
    ids = {"bos_token_id": None, "eos_token_id": None, "cls_token_id": 2, "sep_token_id": 3}
    local = {**ids, "local_attention": 8, "global_attn_every_n_layers": 3, "num_hidden_layers": 4}
    disentangled = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
    unplaced = {"norm_rel_ebd": "layer_norm", "share_att_key": True, "position_biased_input": False}
    kinds: dict[str, tuple[Any, Any, dict[str, Any]]] = {
        "bert": (BertForSequenceClassification, BertConfig, {}),
        "electra": (ElectraForSequenceClassification, ElectraConfig, small),
        "albert": (AlbertForSequenceClassification, AlbertConfig, small),
        "modernbert": (ModernBertForSequenceClassification, ModernBertConfig, local),
        "deberta-v2": (
            DebertaV2ForSequenceClassification,
            DebertaV2Config,
            {**disentangled, **unplaced, "type_vocab_size": 2},
        ),
        "roberta": (RobertaForSequenceClassification, RobertaConfig, offset),
        "xlm-roberta": (XLMRobertaForSequenceClassification, XLMRobertaConfig, offset),
        "camembert": (CamembertForSequenceClassification, CamembertConfig, offset),
        "mpnet": (MPNetForSequenceClassification, MPNetConfig, offset),
    }
    kind, config, own = kinds[family]
    made: PreTrainedModel = kind(config(**{**common, **bert, **own, **overrides}))
    return made
