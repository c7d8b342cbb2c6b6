"""Tensors of the Open Inference Protocol: in and out of messages, raw or typed, every length checked before it is used.

What is wrong with a tensor raises InvalidInput with the path of its field; nothing is quoted. Shapes are checked as
Python integers, so that no product can overflow, and against a bound before anything is made of that size.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rollcall.domain.errors import FieldViolation, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rollcall.oip import open_inference_pb2 as oip

LENGTH = struct.Struct("<I")
"""What stands before each BYTES element of raw contents."""
FIELDS = {
    "BYTES": "bytes_contents",
    "INT64": "int64_contents",
    "INT32": "int_contents",
    "FP32": "fp32_contents",
}
"""Where a type's values are in typed contents."""
NUMPY: dict[str, np.dtype[Any]] = {"INT64": np.dtype("<i8"), "INT32": np.dtype("<i4"), "FP32": np.dtype("<f4")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """A BYTES tensor: its elements, row-major."""

    shape: tuple[int, ...]
    elements: Sequence[bytes] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """A tensor of numbers."""

    datatype: str
    values: npt.NDArray[Any] = field(repr=False)


def read_tensor(request: oip.ModelInferRequest, index: int, datatype: str, *, most: int) -> Texts | Numbers:
    """Read an input of at most so many elements. Raises InvalidInput."""
    tensor = request.inputs[index]
    path, shape = f"inputs[{index}]", tuple(tensor.shape)
    if tensor.datatype != datatype:
        raise InvalidInput.of(f"{path}.datatype", f"must be {datatype}")
    if not shape or min(shape) < 1:
        raise InvalidInput.of(f"{path}.shape", "must have at least one axis, each of at least one element")
    count = math.prod(shape)
    if count > most:
        raise InvalidInput.of(f"{path}.shape", f"must have at most {most} elements")
    if request.raw_input_contents:
        path, data = f"raw_input_contents[{index}]", request.raw_input_contents[index]
        if datatype == "BYTES":
            return Texts(shape=shape, elements=_elements(data, path, count))
        return Numbers(datatype=datatype, values=_numbers(data, path, datatype, count).reshape(shape))
    values = _typed(tensor.contents, f"{path}.contents", datatype, count)
    if datatype == "BYTES":
        return Texts(shape=shape, elements=tuple(values))
    return Numbers(datatype=datatype, values=np.array(values, dtype=NUMPY[datatype]).reshape(shape))


def check_contents(request: oip.ModelInferRequest) -> None:
    """Check that all contents are raw, one for each input, or that none is. Raises InvalidInput."""
    if not request.raw_input_contents:
        return
    violations = [
        FieldViolation(field=f"inputs[{i}].contents", description="must not be set beside raw_input_contents")
        for i, tensor in enumerate(request.inputs)
        if tensor.HasField("contents")
    ]
    expected, found = len(request.inputs), len(request.raw_input_contents)
    if expected != found:
        description = f"must have an entry for each of {expected} inputs, has {found}"
        violations.append(FieldViolation(field="raw_input_contents", description=description))
    if violations:
        raise InvalidInput(*violations)


def write_tensor(name: str, tensor: Texts | Numbers, reply: oip.ModelInferResponse, *, raw: bool) -> None:
    """Add a tensor to a reply, in raw contents or in typed ones."""
    datatype = tensor.datatype if isinstance(tensor, Numbers) else "BYTES"
    shape = tensor.values.shape if isinstance(tensor, Numbers) else tensor.shape
    written = reply.outputs.add(name=name, datatype=datatype, shape=shape)
    if raw:
        reply.raw_output_contents.append(b"".join(_raw_pieces(tensor)))
    else:
        values = tensor.values.ravel().tolist() if isinstance(tensor, Numbers) else tensor.elements
        getattr(written.contents, FIELDS[datatype]).extend(values)


def _raw_pieces(tensor: Texts | Numbers) -> Iterator[bytes]:
    if isinstance(tensor, Numbers):
        yield tensor.values.astype(NUMPY[tensor.datatype]).tobytes()
        return
    for element in tensor.elements:
        yield LENGTH.pack(len(element))
        yield element


def _numbers(data: bytes, path: str, datatype: str, count: int) -> npt.NDArray[Any]:
    expected = count * NUMPY[datatype].itemsize
    if len(data) != expected:
        raise InvalidInput.of(path, f"must have {expected} bytes for its shape, has {len(data)}")
    return np.frombuffer(data, dtype=NUMPY[datatype])


def _elements(data: bytes, path: str, count: int) -> tuple[bytes, ...]:
    """Cut raw BYTES into elements, each behind its length; no more than `count` are ever made."""
    found: list[bytes] = []
    position = 0
    while position < len(data) and len(found) < count:
        start = position + LENGTH.size
        if start > len(data):
            raise InvalidInput.of(path, f"ends inside the length of element {len(found)}")
        position = start + LENGTH.unpack_from(data, position)[0]
        if position > len(data):
            raise InvalidInput.of(path, f"ends inside element {len(found)}")
        found.append(data[start:position])
    if len(found) < count or position < len(data):
        raise InvalidInput.of(path, f"must have exactly {count} elements for its shape")
    return tuple(found)


def _typed(contents: oip.InferTensorContents, path: str, datatype: str, count: int) -> Sequence[Any]:
    wanted = FIELDS[datatype]
    for present, _ in contents.ListFields():
        if present.name != wanted:
            raise InvalidInput.of(f"{path}.{present.name}", f"must be empty: {datatype} values are in {wanted}")
    values: Sequence[Any] = getattr(contents, wanted)
    if len(values) != count:
        raise InvalidInput.of(f"{path}.{wanted}", f"must have {count} values for its shape, has {len(values)}")
    return values
