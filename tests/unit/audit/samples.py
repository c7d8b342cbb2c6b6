"""Answers to record, with a text that must not be seen anywhere outside what is encrypted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rollcall.audit.accepted import Accepted, accept
from rollcall.audit.record import Circumstances, Explained, new_record_id
from rollcall.audit.sealing import KeyEncryptionKey
from rollcall.domain.explanation import ExplainRequest
from rollcall.domain.inputs import Encoding, Target, TextInput, Threshold
from rollcall.domain.recording import AuditChoice, Durability, RecordMode
from rollcall.domain.verdicts import CheckLevel
from tests.unit.edge import samples

TEXT = "Xanthippe hated zucchini"
KEY = KeyEncryptionKey(key=bytes(range(32)))
SALT = bytes(range(1, 33))
DATA_KEY = bytes(range(2, 34))
AT = 1_764_000_000.123
WHERE = Circumstances(
    record_id=new_record_id(AT, bytes(10)),
    created_at=AT,
    instance="0123456789abcdef",
    sequence=7,
    software={"rollcall": "0.1.0", "python": "3.11.2"},
    mode=RecordMode.FULL,
    durability=Durability.DURABLE,
)


def explained(audit: AuditChoice = AuditChoice.DEFAULT) -> Explained:
    """Explain the text, with every optional part once."""
    return Explained(
        request=ExplainRequest(
            request_id="mail@example.org",
            model=samples.MODEL,
            revision="r1",
            input=TextInput(text=TEXT, text_pair="and her neighbour"),
            target=Target(target="positive", foil=0),
            threshold=Threshold(label="positive", probability=0.93),
            deadline=None,
            seed=2**64 - 1,
            reported_label="what Xanthippe wrote",
            reported_score=0.25,
            audit=audit,
        ),
        card=samples.card(),
        encoding=Encoding(
            input_ids=np.array([101, 7, 8, 9, 102]),
            type_ids=np.zeros(5, dtype=np.int64),
            unit_of_token=np.array([-1, 0, 1, 1, -1]),
            units=samples.explanation().units,
            tokens_total=140,
            grouped=True,
        ),
        level=CheckLevel.STANDARD,
        explanation=samples.explanation(request_id="mail@example.org"),
        shared=False,
    )


def accepted(number: int = 0, mode: RecordMode = RecordMode.FULL) -> Accepted:
    """Make the record of the sample answer; each number gives another one."""
    told = explained()
    told = replace(told, explanation=replace(told.explanation, explanation_id=f"e-{number}"))
    where = replace(WHERE, record_id=new_record_id(AT + number, number.to_bytes(10, "big")), sequence=number, mode=mode)
    return accept(told, where, salt=SALT, data_key=DATA_KEY, key=KEY)
