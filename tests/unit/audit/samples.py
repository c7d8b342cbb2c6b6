"""Answers to record, with a text that must not be seen anywhere outside what is encrypted."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from rollcall.audit.accepted import Accepted, accept
from rollcall.audit.canonical import new_id
from rollcall.audit.record import Circumstances, Decided, Explained, Told
from rollcall.audit.references import references
from rollcall.audit.sealing import KeyEncryptionKey, index_key
from rollcall.domain.explanation import ExplainRequest, PredictRequest
from rollcall.domain.inputs import Encoding, Target, TextInput, Threshold
from rollcall.domain.recording import AuditChoice, Durability, RecordMode
from rollcall.domain.verdicts import CheckLevel
from tests.unit.edge import samples as answers

TEXT = "Xanthippe hated zucchini"
DECISION, SUBJECT = "application 4711", "customer Xanthippe"
KEY = KeyEncryptionKey(key=bytes(range(32)))
SALT = bytes(range(1, 33))
DATA_KEY = bytes(range(2, 34))
AT = 1_764_000_000.123
WHERE = Circumstances(
    record_id=new_id(AT, bytes(10)),
    created_at=AT,
    instance="0123456789abcdef",
    sequence=7,
    software={"rollcall": "0.1.0", "python": "3.11.2"},
    mode=RecordMode.FULL,
    durability=Durability.DURABLE,
)


def explained(audit: AuditChoice = AuditChoice.DEFAULT, *, decision_ref: str = "", subject_ref: str = "") -> Explained:
    """Explain the text, with every optional part once."""
    return Explained(
        request=ExplainRequest(
            request_id="mail@example.org",
            model=answers.MODEL,
            revision="r1",
            input=TextInput(text=TEXT, text_pair="and her neighbour"),
            target=Target(target="positive", foil=0),
            threshold=Threshold(label="positive", probability=0.93),
            deadline=None,
            seed=2**64 - 1,
            reported_label="what Xanthippe wrote",
            reported_score=0.25,
            audit=audit,
            decision_ref=decision_ref,
            subject_ref=subject_ref,
        ),
        card=answers.card(),
        encoding=Encoding(
            input_ids=np.array([101, 7, 8, 9, 102]),
            type_ids=np.zeros(5, dtype=np.int64),
            unit_of_token=np.array([-1, 0, 1, 1, -1]),
            units=answers.explanation().units,
            tokens_total=140,
            grouped=True,
        ),
        level=CheckLevel.STANDARD,
        explanation=answers.explanation(request_id="mail@example.org"),
        shared=False,
    )


def decided(*, decision_ref: str = DECISION, subject_ref: str = "") -> Decided:
    """Decide on the text, without explaining it."""
    told = explained()
    request = PredictRequest(
        request_id=told.request.request_id,
        model=told.request.model,
        revision="",
        input=told.request.input,
        target=Target(),
        threshold=None,
        deadline=None,
        decision_ref=decision_ref,
        subject_ref=subject_ref,
        reported_label="negative",
    )
    predicted = replace(answers.predicted(request.request_id), reported_mismatch=True)
    return Decided(request=request, card=told.card, encoding=told.encoding, predicted=predicted)


def accepted(
    number: int = 0, mode: RecordMode = RecordMode.FULL, *, decision_ref: str = "", subject_ref: str = ""
) -> Accepted:
    """Make the record of the sample answer; each number gives another one. A subject has one key."""
    told = explained(decision_ref=decision_ref, subject_ref=subject_ref)
    told = replace(told, explanation=replace(told.explanation, explanation_id=f"e-{number}"))
    return recorded(told, number, mode)


def recorded(told: Told, number: int = 0, mode: RecordMode = RecordMode.FULL) -> Accepted:
    """Make a record of an answer."""
    where = replace(WHERE, record_id=new_id(AT + number, number.to_bytes(10, "big")), sequence=number, mode=mode)
    name = told.request.subject_ref and told.request.caller.tenant + told.request.subject_ref
    return accept(
        told,
        where,
        salt=SALT,
        data_key=DATA_KEY,
        operator=KEY,
        subject=KeyEncryptionKey(key=hashlib.sha256(name.encode()).digest()) if name else None,
        references=references(index_key(KEY), told.request),
    )
