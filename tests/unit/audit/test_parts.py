"""Which parts of an answer a record encrypts."""

from __future__ import annotations

from dataclasses import replace

from rollcall.audit.parts import ATTENTION, parts
from rollcall.domain.maps import MAX_ATTENTION_BYTES, AttentionTensor, TensorType
from tests.unit.audit import samples


def test_attention_is_kept_unless_it_takes_a_stream_to_send() -> None:
    """Attention of a reply's size is a part of the record; more is named there, and made again from weights."""
    told = samples.explained()
    for size, kept in ((MAX_ATTENTION_BYTES, True), (MAX_ATTENTION_BYTES + 1, False)):
        tensor = AttentionTensor(
            layers=(0,), heads=(0,), readout=0, tensor_type=TensorType.UINT8, shape=(1, 1, 1, size), data=bytes(size)
        )
        large = replace(told, explanation=replace(told.explanation, attention=tensor))
        assert (ATTENTION in parts(large)) is kept
    assert ATTENTION not in parts(replace(told, explanation=replace(told.explanation, attention=None)))
