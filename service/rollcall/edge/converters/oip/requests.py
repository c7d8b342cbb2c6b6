"""ModelInfer to what ExplanationService asks: one native request for each item of the batch.

So every item is read, refused and answered exactly as if it had come alone. What is wrong is told by this protocol's
own names: `renamed` turns the native paths into `text[3]`, the fourth item of the tensor text, or
`parameters[rollcall_max_rows]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rollcall.domain.errors import FieldViolation, InvalidInput
from rollcall.edge.converters.oip.catalog import EXPLAINED, FLAG, OUTPUTS, PREDICTED
from rollcall.edge.converters.oip.inputs import collect, parameters_not_offered, read_inputs
from rollcall.edge.converters.oip.options import options
from rollcall.edge.converters.requests import MAX_VIOLATIONS
from rollcall.v1 import common_pb2, explanation_pb2, explanation_service_pb2

if TYPE_CHECKING:
    from rollcall.edge.port import Limits
    from rollcall.oip import open_inference_pb2 as oip

NAMES = {
    "request_id": "id",
    "model": "model_name",
    "revision": "model_version",
    "maps": "parameters[rollcall_map]",
    "primary_map": "parameters[rollcall_primary]",
    "policy": "parameters[rollcall_policy]",
    "seed": "parameters[rollcall_seed]",
    "max_rows": "parameters[rollcall_max_rows]",
    "check_level": "parameters[rollcall_check_level]",
    "target": "parameters[rollcall_target]",
}
"""What this protocol calls the native fields of a whole request."""
TENSORS = {
    "text.text_pair": "text_pair",
    "text.text": "text",
    "text.word.index": "word",
    "text.word": "word",
    "tokens.input_ids": "input_ids",
    "tokens.word": "word",
}
"""The tensors that hold the native fields of one item; the first that fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is asked of B items: a native request for each, and the outputs that are wanted."""

    items: tuple[explanation_pb2.ExplainRequest, ...]
    outputs: tuple[str, ...]
    raw: bool

    @property
    def explained(self) -> bool:
        """Whether explanations are wanted, or the predictions alone."""
        return any(name in EXPLAINED for name in self.outputs)


def read_batch(request: oip.ModelInferRequest, limits: Limits, *, revision: str) -> Batch:
    """Read a request. Raises InvalidInput with everything that is wrong with its outputs, parameters or tensors."""
    violations: list[FieldViolation] = []
    outputs = collect(violations, partial(_outputs, request))
    common = collect(violations, partial(options, request.parameters))
    inputs = collect(violations, partial(read_inputs, request, limits))
    if outputs is None or common is None or inputs is None:
        raise InvalidInput(*violations[:MAX_VIOLATIONS])
    items = tuple(
        explanation_pb2.ExplainRequest(
            request_id=request.id,
            model=request.model_name,
            revision=revision,
            text=one if isinstance(one, common_pb2.TextInput) else None,
            tokens=one if isinstance(one, common_pb2.TokensInput) else None,
            **common,
        )
        for one in inputs
    )
    return Batch(items=items, outputs=outputs, raw=bool(request.raw_input_contents))


def predict_message(item: explanation_pb2.ExplainRequest) -> explanation_service_pb2.PredictRequest:
    """Ask for the prediction of an item alone."""
    return explanation_service_pb2.PredictRequest(
        request_id=item.request_id,
        model=item.model,
        revision=item.revision,
        text=item.text if item.HasField("text") else None,
        tokens=item.tokens if item.HasField("tokens") else None,
        target=item.target if item.HasField("target") else None,
    )


def renamed(error: InvalidInput, item: int) -> InvalidInput:
    """Tell of what is wrong with an item in this protocol's names."""
    return InvalidInput(
        *(FieldViolation(field=_renamed(v.field, item), description=v.description) for v in error.violations)
    )


def _renamed(path: str, item: int) -> str:
    for native, tensor in TENSORS.items():
        if path.startswith(native):
            return f"{tensor}[{item}]{path.removeprefix(native)}"
    return NAMES.get(path.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0], path)


def _outputs(request: oip.ModelInferRequest) -> tuple[str, ...]:
    """Read which outputs are wanted; what is explained never comes without its flag."""
    violations = list(parameters_not_offered("outputs", request.outputs))
    names = [output.name for output in request.outputs]
    for i, name in enumerate(names):
        path = f"outputs[{i}].name"
        if name not in OUTPUTS:
            violations.append(FieldViolation(field=path, description=f"must be one of {', '.join(OUTPUTS)}"))
        elif name in names[:i]:
            violations.append(FieldViolation(field=path, description="must not be requested twice"))
    if violations:
        raise InvalidInput(*violations)
    if any(name in EXPLAINED for name in names) and FLAG not in names:
        names.append(FLAG)
    return tuple(names or PREDICTED)
