"""Predictions and explanations of a batch to the tensors that were asked for.

B batch, C class, U units of the item that has most: shorter items are filled up with zeros and empty texts, and
`rollcall.unit_count` says where they end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from google.protobuf.json_format import MessageToJson

from rollcall.domain.explanation import Explanation
from rollcall.edge.converters import replies
from rollcall.edge.converters.oip.catalog import EXPLAINED, OUTPUTS, version
from rollcall.edge.converters.oip.tensors import Numbers, Texts, write_tensor
from rollcall.oip import open_inference_pb2 as oip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from rollcall.domain.decision import Prediction
    from rollcall.domain.explanation import Predicted
    from rollcall.edge.converters.oip.requests import Batch


def infer_response(
    batch: Batch, answers: Sequence[Predicted] | Sequence[Explanation], *, request_id: str
) -> oip.ModelInferResponse:
    """Write the outputs that were asked for; `answers` [B] are explanations where `batch.explained`."""
    ref = answers[0].model
    reply = oip.ModelInferResponse(model_name=ref.name, model_version=version(ref), id=request_id)
    predictions = [answer.prediction for answer in answers]
    explanations = [answer for answer in answers if isinstance(answer, Explanation)]
    for name in batch.outputs:
        tensor = EXPLAINING[name](explanations) if name in EXPLAINED else PREDICTING[name](predictions)
        write_tensor(name, tensor, reply, raw=batch.raw)
    return reply


def _numbers(name: str, values: npt.ArrayLike) -> Numbers:
    return Numbers(datatype=OUTPUTS[name].datatype, values=np.asarray(values))


def _texts(elements: Sequence[str]) -> Texts:
    return Texts(shape=(len(elements),), elements=[element.encode() for element in elements])


def _scores(answers: Sequence[Explanation]) -> Numbers:
    """Weights of the primary map [B, U]."""
    scores = np.zeros((len(answers), max(len(answer.units) for answer in answers)))
    for row, answer in zip(scores, answers, strict=True):
        row[: len(answer.units)] = answer.primary.map.scores
    return _numbers("rollcall.scores", scores)


def _units(answers: Sequence[Explanation]) -> Texts:
    """Texts of the units [B, U]."""
    most = max(len(answer.units) for answer in answers)
    rows = ([unit.text.encode() for unit in answer.units] for answer in answers)
    elements = [element for row in rows for element in (*row, *[b""] * (most - len(row)))]
    return Texts(shape=(len(answers), most), elements=elements)


def _report(answer: Explanation) -> str:
    """Write the whole ExplainResponse as protobuf's JSON, with the names of the protos."""
    return MessageToJson(replies.explain_response(answer), preserving_proto_field_name=True, indent=None)


PREDICTING: dict[str, Callable[[Sequence[Prediction]], Texts | Numbers]] = {
    "logits": lambda given: _numbers("logits", [one.logits for one in given]),
    "probabilities": lambda given: _numbers("probabilities", [one.probabilities for one in given]),
    "label": lambda given: _texts([one.labels[one.predicted] for one in given]),
}
EXPLAINING: dict[str, Callable[[Sequence[Explanation]], Texts | Numbers]] = {
    "rollcall.scores": _scores,
    "rollcall.units": _units,
    "rollcall.unit_count": lambda given: _numbers("rollcall.unit_count", [len(one.units) for one in given]),
    "rollcall.flag": lambda given: _texts([one.primary.verdict.flag.name for one in given]),
    "rollcall.report": lambda given: _texts([_report(one) for one in given]),
}
