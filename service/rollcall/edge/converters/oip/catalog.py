"""The tensors that every served model takes and gives: their names, types and shapes.

B batch, T token, C class, U units of the item that has most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rollcall.domain.model import ModelCard, ModelRef

MAX_BATCH = 64
"""Most items of one request."""
ANY = -1
"""Length of an axis that varies."""
CLASSES = -2
"""Length of an axis that has one entry per class of the model."""
NO_REVISION = "1"
"""The version of a model for which the operator has set no revision: clients expect one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A tensor: its type, and its shape behind the batch's axis."""

    datatype: str
    dims: tuple[int, ...] = ()

    def dims_of(self, card: ModelCard) -> list[int]:
        """The shape behind the batch's axis for one model."""
        return [len(card.labels) if length == CLASSES else length for length in self.dims]


INPUTS = {
    "text": Spec(datatype="BYTES"),
    "text_pair": Spec(datatype="BYTES"),
    "word": Spec(datatype="INT32"),
    "input_ids": Spec(datatype="INT64", dims=(ANY,)),
    "attention_mask": Spec(datatype="INT64", dims=(ANY,)),
    "token_type_ids": Spec(datatype="INT64", dims=(ANY,)),
}
"""What a model takes: texts, or ids under the names that the model itself has for them; `word` numbers the one whose
label is asked for."""
PREDICTED = {
    "logits": Spec(datatype="FP32", dims=(CLASSES,)),
    "probabilities": Spec(datatype="FP32", dims=(CLASSES,)),
    "label": Spec(datatype="BYTES"),
}
"""What it gives, and what a request without outputs gets."""
EXPLAINED = {
    "rollcall.scores": Spec(datatype="FP32", dims=(ANY,)),
    "rollcall.units": Spec(datatype="BYTES", dims=(ANY,)),
    "rollcall.unit_count": Spec(datatype="INT32"),
    "rollcall.flag": Spec(datatype="BYTES"),
    "rollcall.report": Spec(datatype="BYTES"),
}
"""What is worked out where one of them is requested."""
OUTPUTS = {**PREDICTED, **EXPLAINED}
FLAG = "rollcall.flag"


def version(ref: ModelRef) -> str:
    """What the protocol calls a model's revision."""
    return ref.revision or NO_REVISION
