"""A small token classifier that has learnt from real sentences which number the subject of a verb asks of it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

ENDING = pre_tokenizers.Split(Regex("(?<=[a-z]{2}[a-rt-z])s$"), behavior="isolated")
LABELS = ("NO_VERB", "SINGULAR", "PLURAL")
"""Of the one verb that is marked in each sentence of the data, and of every other word."""
BASE = {"is": "be", "are": "be", "was": "be", "were": "be"}
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NAMES = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIALS, strict=True))
POSITIONS = 128
MOST_WORDS = 30


@dataclass(frozen=True, kw_only=True)
class Tagged:
    """A sentence whose verb, word number `verb`, is written without its number, which is the `label` to be found."""

    text: str
    verb: int
    label: str

    @property
    def character(self) -> int:
        """Where the verb begins."""
        return len(" ".join([*self.text.split()[: self.verb], ""]))


def sentences(file: Path) -> list[Tagged]:
    """Short sentences (Linzen et al. 2016, filtered by Gulordava et al. 2018)."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    found = []
    for row in rows:
        words, verb = row["text"].split(), int(row["verb_index"])
        forms = sorted((row["correct"], row["wrong"]), key=len)  # the plural is the shorter one, but of "be"
        if len(words) > MOST_WORDS:
            continue
        singular = row["correct"] in {"is", "was"} or (row["correct"] not in BASE and row["correct"] == forms[1])
        words[verb] = BASE.get(row["correct"], forms[0])
        found.append(Tagged(text=" ".join(words), verb=verb, label=LABELS[1 if singular else 2]))
    return found


def tokenizer_of(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """WordPiece, so that rare words fall into several pieces, and plurals into a word and its ending."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIALS[1]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), ENDING])
    trainer = trainers.WordPieceTrainer(vocab_size=2500, special_tokens=list(SPECIALS), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # its constructor has no annotations
        tokenizer_object=tokenizer, model_max_length=POSITIONS, **NAMES
    )


def make_tagger(tagged: Sequence[Tagged], directory: Path, *, epochs: int = 5) -> Path:
    """Train a small BERT on the first pieces of words, as such models are; the verb counts as much as all others."""
    tokenizer = tokenizer_of([each.text for each in tagged])
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=POSITIONS, id2label=dict(enumerate(LABELS)), pad_token_id=0,
    )  # fmt: skip
    model = BertForTokenClassification(config)
    rows = []
    for each in tagged:
        batch = tokenizer(each.text.split(), is_split_into_words=True, truncation=True)
        words = batch.word_ids()
        firsts = [w is not None and w != before for before, w in zip([None, *words], words, strict=False)]
        right = [
            (LABELS.index(each.label) if word == each.verb else 0) if first else -100
            for word, first in zip(words, firsts, strict=True)
        ]
        rows.append((batch["input_ids"], right))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    batches = [order[i : i + 64] for i in range(0, len(order), 64)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * len(batches))
    model.train()
    for _ in range(epochs):
        for number in torch.randperm(len(batches)).tolist():
            chosen = [rows[i] for i in batches[number]]
            longest = max(len(ids) for ids, _ in chosen)
            ids = torch.tensor([row + [0] * (longest - len(row)) for row, _ in chosen])
            labels = torch.tensor([row + [-100] * (longest - len(row)) for _, row in chosen])
            verbs, others = labels > 0, labels == 0
            seen = ids.masked_fill((torch.rand(ids.shape) < 0.1) & others, tokenizer.mask_token_id)
            logits = model(input_ids=seen, attention_mask=(ids != 0).long()).logits
            loss = cross_entropy(logits[verbs], labels[verbs]) + 0.3 * cross_entropy(logits[others], labels[others])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
