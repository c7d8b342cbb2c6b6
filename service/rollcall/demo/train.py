"""Build the demonstration model: a sentiment classifier of some three million parameters.

Run as ``python -m rollcall.demo.train --data SST2_DIR --out DIR``. The walk is `main`: read the
data, tune a larger pretrained encoder as teacher (optional), cut the vocabulary, train the
student, choose its epoch on dev, write it in half precision, and measure what was written.

What must hold: test sentences, customer reviews and the hand-check list are measured once, at the
end; nothing is chosen by them. Words are masked, or hidden from attention, in part of every
training batch, so that an explanation that removes words does not ask the model about inputs
unlike any it was trained on.

Shapes: B batch, T tokens of the longest row, W words of the longest row.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import platform
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from tokenizers import (
    pre_tokenizers,
)
from torch.nn import functional
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from rollcall.demo.templates import Example, templated_examples
from rollcall.training.batches import batches_by_length, padded, warm_then_linear, with_words_removed
from rollcall.training.pieces import (
    PAD_ID,
    SPECIAL_PIECES,
    encoded,
    learned_pieces,
    piece_tokenizer,
    plain_characters,
    uncased,
)

LABELS: Final = {0: "negative", 1: "positive"}

UNDECIDED: Final = 0.5
TEACHER_TOKENS: Final = 128

WORD: Final = re.compile(r"[A-Za-z]+")
COMMON_WORDS: Final = 150
NEAR_WORDS: Final = 8
EXCHANGED_SHARE: Final = 0.3
VARIED_CHARACTERS: Final = 20
"""Shorter phrases are not varied: one exchanged word would be the whole phrase."""

WHOLE_REVIEWS: Final = 1600
"""Long rows are dear; this many are enough to train the far positions."""

SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+")
SENTENCE_CHARACTERS: Final = range(12, 240)


# --- data ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """Everything the models may learn from, and the development set that chooses the epoch."""

    phrases: tuple[Example, ...]
    sentences: tuple[Example, ...]
    reviews: tuple[Example, ...]
    review_extracts: tuple[str, ...]
    templated: tuple[Example, ...]
    dev: tuple[Example, ...]


def read_examples(path: Path) -> tuple[Example, ...]:
    """Read a headed, unquoted, tab-separated file with columns ``label`` (0 or 1) and ``text``."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return tuple(Example(text=row["text"], positive=float(row["label"])) for row in rows)


def normal_form(text: str) -> str:
    """Return the lower-case letters and digits alone, equal for texts that differ in dress."""
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def extracts(reviews: Sequence[Example], *, seed: int) -> tuple[str, ...]:
    """Cut reviews into distinct sentences, and add one run of two to four sentences from each."""
    chance = random.Random(seed)  # noqa: S311 - a seeded draw, no secret
    found: dict[str, None] = {}
    for review in reviews:
        sentences = [s for s in SENTENCE_END.split(review.text) if len(s) in SENTENCE_CHARACTERS]
        found.update(dict.fromkeys(sentences))
        length = chance.randint(2, 4)
        if len(sentences) > length:
            start = chance.randrange(len(sentences) - length)
            found[" ".join(sentences[start : start + length])] = None
    return tuple(found)


def read_corpus(data: Path, *, reviews: Path | None, held_out: Sequence[Example], templated: int, seed: int) -> Corpus:
    """Read the training texts, leaving out any that equals a sentence of ``held_out``."""
    forbidden = {normal_form(example.text) for example in held_out}
    long_reviews = read_examples(reviews) if reviews else ()

    def allowed(examples: Sequence[Example]) -> tuple[Example, ...]:
        return tuple(e for e in examples if normal_form(e.text) not in forbidden)

    return Corpus(
        phrases=allowed(read_examples(data / "train_phrases.tsv")),
        sentences=allowed(read_examples(data / "train.tsv")),
        reviews=long_reviews,
        review_extracts=tuple(text for text in extracts(long_reviews, seed=seed) if normal_form(text) not in forbidden),
        templated=allowed(templated_examples(count=templated, seed=seed)),
        dev=read_examples(data / "dev.tsv"),
    )


def say(message: str) -> None:
    """Print a progress line at once, with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {message}", flush=True)


# --- teacher ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherRecipe:
    """How the pretrained encoder is tuned."""

    epochs: int
    batch: int = 64
    learning_rate: float = 1e-4
    weight_decay: float = 0.01


class Teacher:
    """A pretrained encoder with a two-class head, read by its margin log p(1) - log p(0)."""

    def __init__(self, directory: Path) -> None:
        """Open an encoder, tuned or not; an untuned one gets a fresh head."""
        self.model = AutoModelForSequenceClassification.from_pretrained(directory, num_labels=2, dtype=torch.float32)
        self.tokenizer = AutoTokenizer.from_pretrained(directory)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, cut to the teacher's length."""
        encoded: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=TEACHER_TOKENS)["input_ids"]
        return encoded

    def logits(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return logits (B, 2) of padded rows."""
        ids = padded(rows, fill=self.tokenizer.pad_token_id)
        seen = (ids != self.tokenizer.pad_token_id).long()
        with torch.autocast("cpu", torch.bfloat16):
            logits: torch.Tensor = self.model(input_ids=ids, attention_mask=seen).logits
        return logits.float()

    def tune(self, examples: Sequence[Example], *, recipe: TeacherRecipe, seed: int) -> None:
        """Fit the encoder and head to ``examples``; the word vectors stay as they came."""
        chance = random.Random(seed)  # noqa: S311 - a seeded draw, no secret
        self.model.bert.embeddings.requires_grad_(requires_grad=False)
        self.model.train()
        rows = self.ids([e.text for e in examples])
        target = torch.tensor([e.positive for e in examples])
        optimizer = torch.optim.AdamW(
            [p for p in self.model.parameters() if p.requires_grad],
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        steps = recipe.epochs * -(-len(rows) // recipe.batch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_then_linear(step, steps=steps))
        step, losses = 0, 0.0
        for _ in range(recipe.epochs):
            lengths = [len(row) for row in rows]
            for batch in batches_by_length(lengths, size=recipe.batch, chance=chance):
                loss = functional.cross_entropy(self.logits([rows[i] for i in batch]), target[batch].long())
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
                step, losses = step + 1, losses + float(loss.detach())
                if step % 100 == 0:
                    say(f"teacher step {step}/{steps} loss {losses / 100:.4f}")
                    losses = 0.0

    @torch.inference_mode()
    def margins(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the margin of every text."""
        self.model.eval()
        rows = self.ids(texts)
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        margins = np.zeros(len(rows), dtype=np.float32)
        for start in range(0, len(order), 128):
            batch = order[start : start + 128]
            logits = self.logits([rows[i] for i in batch])
            margins[batch] = (logits[:, 1] - logits[:, 0]).numpy()
        return margins


def tuned_teacher(pretrained: Path, *, corpus: Corpus, recipe: TeacherRecipe, work: Path, seed: int) -> Teacher:
    """Return the teacher kept in ``work``, or tune one on the treebank and keep it there."""
    kept = work / "teacher"
    if not kept.exists():
        torch.manual_seed(seed)
        teacher = Teacher(pretrained)
        say("tuning the teacher")
        teacher.tune([*corpus.phrases, *corpus.sentences], recipe=recipe, seed=seed)
        teacher.model.save_pretrained(kept)
        teacher.tokenizer.save_pretrained(kept)
    return Teacher(kept)


def soft_labels(teacher: Teacher, texts: Sequence[str], *, work: Path) -> NDArray[np.float32]:
    """Return the teacher's margins, from ``work`` if the same texts were read there before."""
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
    kept = work / f"margins-{digest}.npy"
    if not kept.exists():
        say(f"the teacher reads {len(texts)} texts")
        np.save(kept, teacher.margins(texts))
    margins: NDArray[np.float32] = np.load(kept)
    return margins


def near_words(teacher: Teacher, texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return, for the words of ``texts``, the words whose vectors lie nearest in the teacher.

    The commonest words are left out, and with them the grammar and the negations.
    """
    vocabulary = teacher.tokenizer.get_vocab()
    ranked = [word for word, times in counted_words(texts).most_common() if times > 1]
    words = [w for w in ranked[COMMON_WORDS:] if w in vocabulary and w.isalpha()]
    table = teacher.model.bert.embeddings.word_embeddings.weight.detach()
    vectors = table[[vocabulary[word] for word in words]]
    vectors = functional.normalize(vectors - vectors.mean(dim=0), dim=1)
    nearest = (vectors @ vectors.T).topk(NEAR_WORDS + 1).indices[:, 1:].tolist()
    return {word: tuple(words[i] for i in near) for word, near in zip(words, nearest, strict=True)}


def varied(texts: Sequence[str], near: Mapping[str, tuple[str, ...]], *, seed: int) -> tuple[str, ...]:
    """Return a copy of each text with some words exchanged for near ones, where any was.

    The exchange may turn the opinion round, so only the teacher can say what the copy means.
    """
    chance = random.Random(seed)  # noqa: S311 - a seeded draw, no secret

    def exchanged(found: re.Match[str]) -> str:
        word = found[0]
        kept = word.lower() not in near or chance.random() > EXCHANGED_SHARE
        return word if kept else chance.choice(near[word.lower()])

    copies = (WORD.sub(exchanged, text) for text in texts)
    return tuple(dict.fromkeys(c for c, text in zip(copies, texts, strict=True) if c != text))


def opinions_of(teacher: Teacher, corpus: Corpus, *, copies: int, work: Path, seed: int) -> dict[str, float]:
    """Return the teacher's margin of treebank texts, review extracts and varied copies."""
    treebank = [e.text for e in (*corpus.phrases, *corpus.sentences)]
    near = near_words(teacher, [*treebank, *corpus.review_extracts])
    groups = [[*treebank, *corpus.review_extracts]]
    for copy in range(copies):
        bases = treebank if copy == 0 else [e.text for e in corpus.sentences]
        long_enough = [text for text in bases if len(text) >= VARIED_CHARACTERS]
        groups.append([*varied(long_enough, near, seed=seed + copy)])
    return {
        text: float(margin)
        for group in groups
        for text, margin in zip(group, soft_labels(teacher, group, work=work), strict=True)
    }


def accuracy(margins: NDArray[np.float32], examples: Sequence[Example]) -> float:
    """Return the share of examples whose margin has the sign of their label."""
    labels = np.array([example.positive > UNDECIDED for example in examples])
    return float(np.mean((margins > 0) == labels))


# --- student's tokenizer ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class StudentRecipe:
    """The student's shape, and how it is trained."""

    pieces: int
    epochs: int
    batch: int = 64
    layers: int = 3
    width: int = 192
    heads: int = 4
    feed_forward: int = 768
    positions: int = 256
    learning_rate: float = 7e-4
    weight_decay: float = 0.01
    word_vector_factor: float = 0.5
    """The word vectors' share of the learning rate: those of rare words should stay near the
    teacher's, which tell what a word resembles."""
    removal_share: float = 0.5
    """The share of rows that lose words: half of them by masking, half by hiding."""
    removal_ceiling: float = 0.5
    """A row that loses words loses each with one probability, drawn from 0 to this."""
    teacher_weight: float = 0.8
    temperature: float = 2.0
    label_smoothing: float = 0.05


def counted_words(texts: Sequence[str]) -> Counter[str]:
    """Count the words of ``texts`` as an uncased BERT tokenizer sees them."""
    normalizer, splitter = uncased(), pre_tokenizers.BertPreTokenizer()
    return Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))


def borrowed_pieces(teacher: Teacher, texts: Sequence[str], *, count: int) -> list[str]:
    """Cut the teacher's pieces down to the ``count`` that ``texts`` use most.

    Single characters are kept whatever their count, so that every word of the Latin alphabet can
    be spelt. Where the texts use fewer pieces, the teacher's most common whole words fill up.
    """
    tokenizer = teacher.tokenizer
    used = Counter(piece for word, times in counted_words(texts).items() for piece in tokenizer.tokenize(word) * times)
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    by_number = sorted(vocabulary, key=lambda piece: vocabulary[piece])
    common_words = [piece for piece in by_number if piece.isascii() and piece.isalpha()]
    spelling = [piece for piece in plain_characters() if piece in vocabulary]
    repeated = [piece for piece, times in used.most_common() if times > 1]
    wanted = [*SPECIAL_PIECES, *spelling, *repeated, *common_words]
    return [piece for piece in dict.fromkeys(wanted) if piece in vocabulary][:count]


def reduced_word_vectors(teacher: Teacher, pieces: Sequence[str], *, width: int, spread: float = 0.05) -> torch.Tensor:
    """Return the pieces' word vectors (pieces, ``width``): the teacher's main components."""
    vocabulary = teacher.tokenizer.get_vocab()
    table = teacher.model.bert.embeddings.word_embeddings.weight.detach()
    own = table[[vocabulary[piece] for piece in pieces]]
    centred = own - own.mean(dim=0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    reduced = centred @ axes[:width].T
    scaled: torch.Tensor = reduced * (spread / reduced.std())
    return scaled


# --- student ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Lessons:
    """What the student learns from; one entry a text in every field.

    ``labelled`` and ``taught`` are 1 where a text has a label, or a teacher's margin. ``words``
    gives each token's word, from 1; 0 for [CLS] and [SEP].
    """

    rows: list[list[int]]
    words: list[list[int]]
    label: torch.Tensor
    labelled: torch.Tensor
    margin: torch.Tensor
    taught: torch.Tensor


def lessons(
    tokenizer: PreTrainedTokenizerFast,
    corpus: Corpus,
    *,
    opinions: Mapping[str, float],
    positions: int,
) -> Lessons:
    """Gather every training text with its label, the teacher's opinion of it, or both."""
    whole_reviews = corpus.reviews[:WHOLE_REVIEWS]
    labelled = [*corpus.phrases, *corpus.sentences, *corpus.templated, *whole_reviews]
    labels = {example.text: example.positive for example in labelled}
    texts = list(dict.fromkeys([*labels, *opinions]))
    rows, words = encoded(tokenizer, texts, limit=positions)
    return Lessons(
        rows=rows,
        words=words,
        label=torch.tensor([labels.get(text, UNDECIDED) for text in texts]),
        labelled=torch.tensor([float(text in labels) for text in texts]),
        margin=torch.tensor([opinions.get(text, 0.0) for text in texts]),
        taught=torch.tensor([float(text in opinions) for text in texts]),
    )


def new_student(
    recipe: StudentRecipe, *, pieces: int, word_vectors: torch.Tensor | None
) -> BertForSequenceClassification:
    """Return an untrained student, its word vectors set if they are given."""
    student = BertForSequenceClassification(
        BertConfig(
            vocab_size=pieces,
            hidden_size=recipe.width,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            intermediate_size=recipe.feed_forward,
            attention_probs_dropout_prob=0.0,  # removing words is dropout enough, and cheaper
            # On a CPU the fused attention is slow for rows this short.
            attn_implementation="eager",  # type: ignore[call-arg]  # taken, though not declared
            max_position_embeddings=recipe.positions,
            pad_token_id=PAD_ID,
            id2label=LABELS,
            label2id={name: number for number, name in LABELS.items()},
        )
    )
    if word_vectors is not None:
        with torch.no_grad():
            student.bert.embeddings.word_embeddings.weight.copy_(word_vectors)
    return student


def lesson_loss(margin: torch.Tensor, batch: Sequence[int], taken: Lessons, recipe: StudentRecipe) -> torch.Tensor:
    """Return the mean loss of the student's margins (B,): towards label, teacher, or both.

    Where both speak the teacher has ``teacher_weight``. As usual the softened term is scaled by
    the square of the temperature, so that it keeps its weight.
    """
    picked = list(batch)
    labelled, taught = taken.labelled[picked], taken.taught[picked]
    smooth = recipe.label_smoothing
    target = taken.label[picked] * (1 - smooth) + smooth / 2
    to_label = functional.binary_cross_entropy_with_logits(margin, target, reduction="none")
    soft = torch.sigmoid(taken.margin[picked] / recipe.temperature)
    to_teacher = recipe.temperature**2 * functional.binary_cross_entropy_with_logits(
        margin / recipe.temperature, soft, reduction="none"
    )
    teacher_share = taught * torch.where(labelled > 0, recipe.teacher_weight, 1.0)
    return (teacher_share * to_teacher + (1 - teacher_share) * labelled * to_label).mean()


def train_student(
    student: BertForSequenceClassification,
    taken: Lessons,
    *,
    tokenizer: PreTrainedTokenizerFast,
    dev: Sequence[Example],
    recipe: StudentRecipe,
    keep: Callable[[BertForSequenceClassification], None],
    seed: int,
) -> None:
    """Train in place and hand the student to ``keep`` after every epoch that is best on dev."""
    chance = random.Random(seed)  # noqa: S311 - a seeded draw, no secret
    vectors = student.bert.embeddings.word_embeddings.weight
    groups: list[dict[str, Any]] = [
        {"params": [p for p in student.parameters() if p is not vectors]},
        {"params": [vectors], "lr": recipe.learning_rate * recipe.word_vector_factor},
    ]
    optimizer = torch.optim.AdamW(
        groups,
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    steps = recipe.epochs * -(-len(taken.rows) // recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_then_linear(step, steps=steps))
    lengths = [len(row) for row in taken.rows]
    best = -1.0
    for epoch in range(1, recipe.epochs + 1):
        student.train()
        losses = []
        for batch in batches_by_length(lengths, size=recipe.batch, chance=chance):
            ids, seen = with_words_removed(
                padded([taken.rows[i] for i in batch], fill=PAD_ID),
                padded([taken.words[i] for i in batch], fill=0),
                share=recipe.removal_share,
                ceiling=recipe.removal_ceiling,
            )
            with torch.autocast("cpu", torch.bfloat16):
                logits = student(input_ids=ids, attention_mask=seen).logits.float()
            loss = lesson_loss(logits[:, 1] - logits[:, 0], batch, taken, recipe)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            losses.append(float(loss.detach()))
            if len(losses) % 500 == 0:
                say(f"student epoch {epoch} step {len(losses)} loss {np.mean(losses[-500:]):.4f}")
        reached = accuracy(student_margins(student, tokenizer, [e.text for e in dev]), dev)
        say(f"student epoch {epoch}/{recipe.epochs} dev accuracy {reached:.4f}")
        if reached >= best:
            best = reached
            keep(student)


# --- evaluation ---------------------------------------------------------------------------------


@torch.inference_mode()
def student_margins(
    student: BertForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
) -> NDArray[np.float32]:
    """Return the margin log p(positive) - log p(negative) of every text."""
    student.train(mode=False)
    limit = student.config.max_position_embeddings
    margins = [np.zeros(0, dtype=np.float32)]
    for start in range(0, len(texts), 64):
        batch = tokenizer(
            list(texts[start : start + 64]),
            truncation=True,
            max_length=limit,
            padding=True,
            return_tensors="pt",
        )
        logits = student(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        margins.append((logits[:, 1] - logits[:, 0]).numpy())
    return np.concatenate(margins)


@dataclass(frozen=True, kw_only=True, slots=True)
class HandChecked:
    """One sentence of the hand-check list, and what the model says."""

    kind: str
    text: str
    positive: bool
    probability: float
    """The model's probability of "positive"."""

    @property
    def right(self) -> bool:
        """Whether the model leans towards the sentence's label."""
        return (self.probability > UNDECIDED) == self.positive


def hand_check(
    path: Path, student: BertForSequenceClassification, tokenizer: PreTrainedTokenizerBase
) -> list[HandChecked]:
    """Read the list (columns ``kind``, ``label``, ``text``) and let the model judge it."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    margins = torch.from_numpy(student_margins(student, tokenizer, [row["text"] for row in rows]))
    return [
        HandChecked(
            kind=row["kind"],
            text=row["text"],
            positive=row["label"] == "1",
            probability=round(float(probability), 4),
        )
        for row, probability in zip(rows, torch.sigmoid(margins), strict=True)
    ]


def hits_by_kind(checked: Sequence[HandChecked]) -> dict[str, str]:
    """Return, for each kind of sentence and for all, "right/asked"."""
    kinds = [*dict.fromkeys(c.kind for c in checked)]
    groups = {kind: [c.right for c in checked if c.kind == kind] for kind in kinds}
    groups["all"] = [c.right for c in checked]
    return {kind: f"{sum(rights)}/{len(rights)}" for kind, rights in groups.items()}


def measured(directory: Path, *, files: Mapping[str, Path], handcheck: Path) -> dict[str, Any]:
    """Measure the model as written, opened the way a user opens it, on each of ``files``."""
    student = BertForSequenceClassification.from_pretrained(directory, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(directory)

    def share_right(path: Path) -> float:
        examples = read_examples(path)
        margins = student_margins(student, tokenizer, [e.text for e in examples])
        return round(accuracy(margins, examples), 4)

    checked = hand_check(handcheck, student, tokenizer)
    weights = directory / "model.safetensors"
    return {
        "accuracy": {name: share_right(path) for name, path in files.items()},
        "hand_check": hits_by_kind(checked),
        "hand_check_failures": [
            {"text": c.text, "positive": c.positive, "probability": c.probability} for c in checked if not c.right
        ],
        "parameters": student.num_parameters(),
        "bytes": {file.name: file.stat().st_size for file in sorted(directory.iterdir())},
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }


# --- the walk -----------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    """Read the command line."""
    own = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(prog="rollcall.demo.train", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder with train.tsv, train_phrases.tsv, dev.tsv and test.tsv (SST-2; "
        "tab-separated, a header line, columns label and text)",
    )
    parser.add_argument("--out", type=Path, required=True, help="where the model is written")
    parser.add_argument(
        "--teacher",
        type=Path,
        help="folder of a pretrained uncased BERT encoder to tune and distil from; "
        "without it the student learns from the labels alone",
    )
    parser.add_argument(
        "--reviews",
        type=Path,
        help="further labelled long texts (columns label and text): the student learns from them "
        "whole, and from the teacher's opinion of their sentences",
    )
    parser.add_argument(
        "--customer-reviews",
        type=Path,
        help="labelled sentences of another domain, measured and never trained on",
    )
    parser.add_argument(
        "--long-reviews",
        type=Path,
        help="labelled long texts, measured and never trained on",
    )
    parser.add_argument(
        "--handcheck",
        type=Path,
        default=own / "handcheck.tsv",
        help="sentences with their kind, measured and never trained on (default: packaged)",
    )
    parser.add_argument(
        "--work",
        type=Path,
        help="where the tuned teacher and its opinions are kept for a next run (default: OUT.work)",
    )
    parser.add_argument("--metrics", type=Path, help="where the metrics are written (default: OUT.metrics.json)")
    parser.add_argument("--seed", type=int, default=11, help="seed of every draw (default: 11)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default: 1)")
    parser.add_argument("--pieces", type=int, default=7500, help="vocabulary size (default: 7500)")
    parser.add_argument("--epochs", type=int, default=5, help="student epochs (default: 5)")
    parser.add_argument("--teacher-epochs", type=int, default=1, help="teacher epochs (default: 1)")
    parser.add_argument(
        "--copies",
        type=int,
        default=3,
        help="copies with exchanged words for the teacher to judge: the first of every longer "
        "phrase, the others of sentences only (default: 3)",
    )
    parser.add_argument(
        "--templated",
        type=int,
        default=12000,
        help="made-up sentences to draw, duplicates included (default: 12000)",
    )
    return parser.parse_args()


def write_model(student: BertForSequenceClassification, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write weights in half precision, configuration and tokenizer."""
    out.mkdir(parents=True, exist_ok=True)
    half = torch.nn.Module.to(deepcopy(student), dtype=torch.float16)
    half.save_pretrained(out)
    tokenizer.save_pretrained(out)
    for file in out.iterdir():
        file.chmod(0o644)  # the weights come out readable by their writer alone


def main() -> None:
    """Build and measure the model."""
    started = time.monotonic()
    options = arguments()
    out: Path = options.out
    work: Path = options.work or out.with_name(out.name + ".work")
    metrics: Path = options.metrics or out.with_name(out.name + ".metrics.json")
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(mode=True)

    # 1. The data.
    corpus = read_corpus(
        options.data,
        reviews=options.reviews,
        held_out=read_examples(options.handcheck),
        templated=options.templated,
        seed=options.seed,
    )
    say(
        f"{len(corpus.phrases)} phrases, {len(corpus.sentences)} sentences, "
        f"{len(corpus.reviews)} reviews in {len(corpus.review_extracts)} extracts, "
        f"{len(corpus.templated)} templated"
    )

    # 2. The teacher, if there is one.
    teacher = None
    teacher_dev = None
    if options.teacher:
        teacher = tuned_teacher(
            options.teacher,
            corpus=corpus,
            recipe=TeacherRecipe(epochs=options.teacher_epochs),
            work=work,
            seed=options.seed,
        )
        teacher_dev = accuracy(soft_labels(teacher, [e.text for e in corpus.dev], work=work), corpus.dev)
        say(f"teacher dev accuracy {teacher_dev:.4f}")

    # 3. The vocabulary and the student's lessons.
    recipe = StudentRecipe(pieces=options.pieces, epochs=options.epochs)
    texts = [e.text for e in (*corpus.phrases, *corpus.sentences, *corpus.templated)]
    texts += corpus.review_extracts
    pieces = (
        borrowed_pieces(teacher, texts, count=recipe.pieces) if teacher else learned_pieces(texts, count=recipe.pieces)
    )
    tokenizer = piece_tokenizer(pieces, positions=recipe.positions)
    opinions = opinions_of(teacher, corpus, copies=options.copies, work=work, seed=options.seed) if teacher else {}
    taken = lessons(tokenizer, corpus, opinions=opinions, positions=recipe.positions)

    # 4. The student.
    torch.manual_seed(options.seed)
    student = new_student(
        recipe,
        pieces=len(pieces),
        word_vectors=reduced_word_vectors(teacher, pieces, width=recipe.width) if teacher else None,
    )
    say(f"student with {student.num_parameters()} parameters, {len(taken.rows)} rows an epoch")
    train_student(
        student,
        taken,
        tokenizer=tokenizer,
        dev=corpus.dev,
        recipe=recipe,
        keep=lambda better: write_model(better, tokenizer, out),
        seed=options.seed,
    )

    # 5. What was written is what is measured.
    files = {
        "dev": options.data / "dev.tsv",
        "test": options.data / "test.tsv",
        "customer_reviews": options.customer_reviews,
        "long_reviews": options.long_reviews,
    }
    report = measured(
        out,
        files={name: path for name, path in files.items() if path},
        handcheck=options.handcheck,
    )
    report |= {
        "teacher_dev_accuracy": teacher_dev,
        "seed": options.seed,
        "seconds": round(time.monotonic() - started),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    metrics.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    say(json.dumps(report, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
