"""Tensors of the Open Inference Protocol as a client of any server sees them: numbers as arrays, BYTES as lists."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from rollcall.oip import open_inference_pb2 as oip

Values: TypeAlias = "npt.NDArray[Any] | list[bytes]"

LENGTH = struct.Struct("<I")
"""What stands before each BYTES element of raw contents."""
TYPES: dict[str, tuple[str, np.dtype[Any]]] = {
    "BOOL": ("bool_contents", np.dtype("?")),
    "INT32": ("int_contents", np.dtype("<i4")),
    "INT64": ("int64_contents", np.dtype("<i8")),
    "FP16": ("", np.dtype("<f2")),
    "FP32": ("fp32_contents", np.dtype("<f4")),
    "FP64": ("fp64_contents", np.dtype("<f8")),
}
"""The field of typed contents, and the type of raw ones."""
BYTES = "BYTES"


class AnswerError(Exception):
    """An answer that is none of the protocol's, or not of such a model; the message quotes nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input of a model as its server lists it."""

    name: str
    datatype: str
    rank: int


class Peer(Protocol):
    """A server that is asked, over whatever."""

    def inputs(self, model: str) -> tuple[Port, ...]:
        """What a model takes. Raises CallFailed, AnswerError."""

    def infer(self, model: str, tensors: Sequence[tuple[Port, Values]]) -> dict[str, Values]:
        """Every output for one input; numbers have their shape. Raises CallFailed, AnswerError."""


def shape_of(port: Port, values: Values) -> list[int]:
    """One text or one row of ids, with as many axes as the server lists."""
    if isinstance(values, list):
        return [1] * max(port.rank, 1)
    return list(values.shape)


def write_input(port: Port, values: Values) -> oip.ModelInferRequest.InferInputTensor:
    """A tensor in typed contents, which every server reads."""
    tensor = oip.ModelInferRequest.InferInputTensor(
        name=port.name, datatype=port.datatype, shape=shape_of(port, values)
    )
    if isinstance(values, list):
        tensor.contents.bytes_contents.extend(values)
    else:
        getattr(tensor.contents, TYPES[port.datatype][0]).extend(values.ravel().tolist())
    return tensor


def read_outputs(reply: oip.ModelInferResponse) -> dict[str, Values]:
    """Every output, raw or typed. Raises AnswerError."""
    found: dict[str, Values] = {}
    for number, output in enumerate(reply.outputs):
        try:
            if output.datatype == BYTES:
                raw = reply.raw_output_contents
                found[output.name] = _elements(raw[number]) if raw else list(output.contents.bytes_contents)
            elif output.datatype in TYPES:
                found[output.name] = _numbers(reply, number).reshape(tuple(output.shape))
        except (ValueError, IndexError, struct.error) as error:
            message = f"its output {output.name[:80]!r} is not of the shape that it says"
            raise AnswerError(message) from error
    return found


def _numbers(reply: oip.ModelInferResponse, number: int) -> npt.NDArray[Any]:
    output = reply.outputs[number]
    field, dtype = TYPES[output.datatype]
    if reply.raw_output_contents:
        return np.frombuffer(reply.raw_output_contents[number], dtype=dtype)
    return np.array(getattr(output.contents, field) if field else [], dtype=dtype)


def _elements(data: bytes) -> list[bytes]:
    found, position = [], 0
    while position < len(data):
        (length,) = LENGTH.unpack_from(data, position)
        position += LENGTH.size + length
        if position > len(data):
            message = "an element is cut"
            raise ValueError(message)
        found.append(data[position - length : position])
    return found


def as_rows(values: npt.NDArray[Any], classes: int) -> bool:
    """Whether numbers are what a model says of one input's classes."""
    return values.dtype.kind == "f" and math.prod(values.shape) == classes and classes in values.shape
