"""The inputs of ModelInfer: from tensors to the native inputs of each item, texts or token ids.

B batch, T token.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from rollcall.domain.errors import FieldViolation, InvalidInput
from rollcall.edge.converters.oip.catalog import INPUTS, MAX_BATCH
from rollcall.edge.converters.oip.tensors import Numbers, Texts, check_contents, read_tensor
from rollcall.edge.wire import is_utf8
from rollcall.v1 import common_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from rollcall.edge.port import Limits
    from rollcall.oip import open_inference_pb2 as oip

T = TypeVar("T")

COMBINATIONS = (
    {"text"},
    {"text", "text_pair"},
    {"text", "word"},
    {"input_ids"},
    {"input_ids", "attention_mask"},
    {"input_ids", "token_type_ids"},
    {"input_ids", "attention_mask", "token_type_ids"},
)
"""Inputs that go together."""
NOT_OFFERED = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset", "classification")
"""Parameters of tensors that other servers' clients may send, and that must not be passed over."""
LARGEST_ID = 2**31 - 1


def collect(violations: list[FieldViolation], read: Callable[[], T]) -> T | None:
    """Read, or note what was refused and go on without."""
    try:
        return read()
    except InvalidInput as error:
        violations.extend(error.violations)
        return None


def read_inputs(
    request: oip.ModelInferRequest, limits: Limits
) -> Sequence[common_pb2.TextInput | common_pb2.TokensInput]:
    """Read the input of each item. Raises InvalidInput with everything that is wrong."""
    names = [tensor.name for tensor in request.inputs]
    if len(set(names)) < len(names) or set(names) not in COMBINATIONS:
        together = "; or ".join(" and ".join(sorted(each, reverse=True)) for each in COMBINATIONS)
        raise InvalidInput.of("inputs", f"must be {together}")
    check_contents(request)
    violations = list(parameters_not_offered("inputs", request.inputs))
    tensors = {name: collect(violations, partial(_read, request, i, limits)) for i, name in enumerate(names)}
    violations += _unequal(request)
    if violations:
        raise InvalidInput(*violations)
    numbers = {name: tensor.values for name, tensor in tensors.items() if isinstance(tensor, Numbers)}
    texts = {name: tensor.elements for name, tensor in tensors.items() if isinstance(tensor, Texts)}
    return _texts(texts, numbers.get("word")) if texts else _tokens(numbers)


def parameters_not_offered(
    field: str,
    tensors: Sequence[oip.ModelInferRequest.InferInputTensor | oip.ModelInferRequest.InferRequestedOutputTensor],
) -> Iterator[FieldViolation]:
    """Find parameters that would change the meaning of a tensor."""
    for i, tensor in enumerate(tensors):
        for name in NOT_OFFERED:
            if name in tensor.parameters:
                yield FieldViolation(field=f"{field}[{i}].parameters[{name}]", description="is not offered here")


def _read(request: oip.ModelInferRequest, index: int, limits: Limits) -> Texts | Numbers:
    """Read one input: [B, T] for ids, [B] or [B, 1] for texts."""
    tensor = request.inputs[index]
    spec, path, axes = INPUTS[tensor.name], f"inputs[{index}].shape", len(tensor.shape)
    if axes != 1 + len(spec.dims) and (spec.dims or tensor.shape[1:] != [1]):
        raise InvalidInput.of(path, "must be [B, T]" if spec.dims else "must be [B] or [B, 1]")
    if tensor.shape[0] > MAX_BATCH:
        raise InvalidInput.of(path, f"must have at most {MAX_BATCH} items")
    most = MAX_BATCH * limits.max_characters if spec.dims else MAX_BATCH
    return read_tensor(request, index, spec.datatype, most=most)


def _unequal(request: oip.ModelInferRequest) -> Iterator[FieldViolation]:
    """Find inputs with other items than the first one's, or other tokens."""
    first = request.inputs[0]
    for i, tensor in enumerate(request.inputs[1:], start=1):
        axes = 1 + len(INPUTS[tensor.name].dims)
        if tensor.shape[:axes] != first.shape[:axes]:
            yield FieldViolation(field=f"inputs[{i}].shape", description=f"must be that of {first.name}")


def _texts(columns: Mapping[str, Sequence[bytes]], words: npt.NDArray[Any] | None) -> list[common_pb2.TextInput]:
    violations = [
        FieldViolation(field=f"{name}[{i}]", description="must be valid UTF-8")
        for name, elements in columns.items()
        for i, element in enumerate(elements)
        if not is_utf8(element)
    ]
    if violations:
        raise InvalidInput(*violations)
    texts = [element.decode() for element in columns["text"]]
    pairs = [element.decode() for element in columns["text_pair"]] if "text_pair" in columns else [None] * len(texts)
    asked = [None] * len(texts) if words is None else [common_pb2.WordRef(index=int(word)) for word in words.ravel()]
    return [
        common_pb2.TextInput(text=text, text_pair=pair, word=word)
        for text, pair, word in zip(texts, pairs, asked, strict=True)
    ]


def _tokens(columns: Mapping[str, np.ndarray]) -> list[common_pb2.TokensInput]:
    """Cut each row of ids [B, T] where its mask ends. Ids are those of one text each: their types are zeros."""
    ids = columns["input_ids"]
    mask = columns.get("attention_mask", np.ones_like(ids))
    lengths = (mask == 1).sum(axis=1)
    violations: list[FieldViolation] = []
    for i, length in enumerate(lengths):
        if not length or not np.array_equal(mask[i], np.arange(ids.shape[1]) < length):
            description = "must be ones, at least one, and behind them zeros"
            violations.append(FieldViolation(field=f"attention_mask[{i}]", description=description))
        if columns.get("token_type_ids", np.zeros_like(ids))[i].any():
            description = "must be zeros: a pair of texts goes as text and text_pair"
            violations.append(FieldViolation(field=f"token_type_ids[{i}]", description=description))
        violations += [
            FieldViolation(field=f"input_ids[{i}][{t}]", description=f"must lie between 0 and {LARGEST_ID}")
            for t in np.flatnonzero((ids[i, :length] < 0) | (ids[i, :length] > LARGEST_ID))
        ]
    if violations:
        raise InvalidInput(*violations)
    return [common_pb2.TokensInput(input_ids=row[:length].tolist()) for row, length in zip(ids, lengths, strict=True)]
