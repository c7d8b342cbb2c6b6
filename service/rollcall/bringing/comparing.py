"""`rollcall models compare`: what another server predicts, against what ours does, text by text.

Nothing that is written here holds a text: an input is the number of its line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rollcall.bringing.peers import CallFailed
from rollcall.bringing.tensors import BYTES, AnswerError, Peer, Port, Values, as_rows
from rollcall.bringing.triton import MARKS
from rollcall.domain.decision import Task, probabilities
from rollcall.domain.errors import ModelRejected

if TYPE_CHECKING:
    from rollcall_client import Prediction

TEXT = "text"
PREFERRED = ("probabilities", "logits")
"""Names of outputs that are looked for first."""
ABSOLUTE = 1e-3
"""By how much probabilities that another server rounds may miss a sum of 1."""
HALF = 1 / 2
"""Labels of a multi-label model are chosen from here on."""
NONE = "(none)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a server says of one input: probabilities by class, or a label with its probability, or a label alone."""

    probabilities: tuple[float, ...] | None = None
    label: str = ""
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One input. `difference`: the largest of a probability, None where there is none to compare.

    `ours` and `theirs` are the labels that were chosen; `error` says why there was no answer.
    """

    line: int
    difference: float | None = None
    ours: str = ""
    theirs: str = ""
    error: str = ""

    @property
    def agrees(self) -> bool:
        """Whether both decide alike."""
        return not self.error and self.ours == self.theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """How another server's model is asked. `reading` makes ids of a text, for a model that takes no texts.

    `output` names what holds its classes, `logits` says whether that is logits; None: as the numbers look.
    """

    model: str
    task: Task
    labels: tuple[str, ...]
    port: Port | None
    reading: Callable[[str], Sequence[tuple[Port, Values]]] | None = field(default=None, repr=False)
    output: str = ""
    logits: bool | None = None

    def tensors(self, text: str) -> Sequence[tuple[Port, Values]]:
        """What is sent for a text."""
        if self.reading is not None:
            return self.reading(text)
        assert self.port is not None
        return [(self.port, [text.encode()])]


def compare(
    lines: Iterable[tuple[int, str]], ask_ours: Callable[[str], Prediction], peer: Peer, question: Question
) -> Iterator[Compared]:
    """Ask both about each text."""
    from rollcall_client import RollcallError as OursFailed  # noqa: PLC0415 - the client is for those who ask

    for line, text in lines:
        try:
            ours = ask_ours(text)
        except OursFailed as error:
            yield Compared(line=line, error=f"ours: {error.code}")
            continue
        try:
            theirs = read(peer.infer(question.model, question.tensors(text)), question)
        except CallFailed as error:
            yield Compared(line=line, error=f"theirs: {error.code}")
        except AnswerError as error:
            yield Compared(line=line, error=f"theirs: {error}")
        else:
            yield _compared(line, tuple(ours.probabilities), theirs, question)


def ask_of(peer: Peer, model: str, *, named: str, tokenizer: Path | None) -> tuple[Port | None, Any]:
    """How a model is asked: by its input for texts, or by the inputs for ids that a tokenizer fills.

    Raises ModelRejected, CallFailed, AnswerError.
    """
    listed = peer.inputs(model)
    if tokenizer is not None:
        return None, _reading(tokenizer, listed)
    texts = [port for port in listed if port.datatype == BYTES and (not named or port.name == named)]
    chosen = next((port for port in texts if port.name == TEXT), texts[0] if texts else None)
    if chosen is not None:
        return chosen, None
    if named or not listed:
        return Port(name=named or TEXT, datatype=BYTES, rank=1), None
    message = f"{model} takes {', '.join(port.name for port in listed)[:200]} and no texts: say --tokenizer DIRECTORY"
    raise ModelRejected(message)


def _reading(directory: Path, listed: Sequence[Port]) -> Callable[[str], Sequence[tuple[Port, Values]]]:
    """What makes the inputs for ids of a text."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - only where ids are asked for

    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        message = f"{directory} holds no tokenizer that can be loaded: {type(error).__name__}"
        raise ModelRejected(message) from error
    ports: dict[str, Port] = {}
    for port in sorted(listed, key=lambda port: port.name not in MARKS):  # who has one of our names is it
        fitting = [name for name, marks in MARKS.items() if port.name == name or any(m in port.name for m in marks)]
        if port.datatype in {"INT64", "INT32"} and fitting:
            ports.setdefault(fitting[-1], port)

    def read(text: str) -> Sequence[tuple[Port, Values]]:
        ids = tokenizer(text, truncation=True)["input_ids"]
        rows = {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": [0] * len(ids)}
        return [(port, np.array([rows[name]])) for name, port in ports.items()]

    return read


def read(outputs: dict[str, Values], question: Question) -> Said:
    """What a server says, from all its outputs. Raises AnswerError where there is nothing of such a model."""
    wanted = (question.output,) if question.output else (*PREFERRED, *outputs)
    for name in wanted:
        values = outputs.get(name)
        if isinstance(values, np.ndarray) and as_rows(values, len(question.labels)):
            return Said(probabilities=_probabilities(name, values.ravel().astype(float), question))
    for name in wanted:
        values = outputs.get(name)
        if isinstance(values, list) and len(values) == 1 and (said := _labelled(values[0], question)):
            return said
    named = f"the output {question.output!r}" if question.output else "outputs"
    message = f"its answer has no {named} with {len(question.labels)} numbers or a label"
    raise AnswerError(message)


def _probabilities(name: str, values: Any, question: Question) -> tuple[float, ...]:  # noqa: ANN401 - of floats
    if not np.isfinite(values).all():
        message = "its answer has numbers that are not finite"
        raise AnswerError(message)
    within = bool((values >= 0).all() and (values <= 1).all())
    whole = question.task is Task.MULTI_LABEL or abs(values.sum() - 1) <= ABSOLUTE
    looks = "logit" in name or not (within and whole)
    logits = looks if question.logits is None else question.logits
    return tuple(map(float, probabilities(values, question.task) if logits else values))


def _labelled(text: bytes, question: Question) -> Said | None:
    """A label, alone or in JSON with its score, as pipelines answer; None for anything else."""
    label = text.decode(errors="replace")
    if label in question.labels:  # which may be JSON, too: 1, true
        return Said(label=label)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    listed = [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]
    scores = {str(one["label"]): float(one["score"]) for one in listed if _is_scored(one)}
    if scores.keys() >= set(question.labels):
        return Said(probabilities=tuple(scores[label] for label in question.labels))
    if not scores:
        return None
    best = max(scores, key=lambda label: scores[label])
    return Said(label=best, score=scores[best])


def _is_scored(one: dict[str, Any]) -> bool:
    score = one.get("score")
    return "label" in one and isinstance(score, (int, float)) and abs(score) <= sys.float_info.max


def _compared(line: int, ours: tuple[float, ...], theirs: Said, question: Question) -> Compared:
    chosen = _decided(ours, question)
    if theirs.probabilities is not None:
        difference = max(abs(a - b) for a, b in zip(ours, theirs.probabilities, strict=True))
        other = _decided(theirs.probabilities, question)
        return Compared(line=line, difference=difference, ours=chosen, theirs=other)
    if theirs.score is None or theirs.label not in question.labels:
        return Compared(line=line, ours=chosen, theirs=theirs.label)
    own = ours[question.labels.index(theirs.label)]
    apart = abs(own - theirs.score)
    if question.task is not Task.MULTI_LABEL:
        return Compared(line=line, difference=apart, ours=chosen, theirs=theirs.label)
    # Of several labels it told the most probable alone: no other is above it, and below one half it chose none.
    apart = max(apart, max(ours) - theirs.score)
    if theirs.score < HALF:
        return Compared(line=line, difference=apart, ours=chosen, theirs=NONE)
    return Compared(line=line, difference=apart, ours=theirs.label if own >= HALF else chosen, theirs=theirs.label)


def _decided(found: Sequence[float], question: Question) -> str:
    """The label of the largest probability; of a multi-label model all from one half."""
    if question.task is Task.MULTI_LABEL:
        return ", ".join(label for label, p in zip(question.labels, found, strict=True) if p >= HALF) or NONE
    return question.labels[int(np.argmax(found))]
