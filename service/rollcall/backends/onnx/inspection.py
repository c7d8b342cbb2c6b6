"""What can be said of an exported file without a configuration: where its attention is, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir
import torch

from rollcall.backends.onnx.open_session import OpenSession
from rollcall.backends.onnx.plain import INPUTS, load_plain
from rollcall.backends.onnx.surgery import NotOpenedError, open_attention
from rollcall.backends.self_test import LENGTHS
from rollcall.backends.tensors import largest_gap
from rollcall.domain.model import TensorNames


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was found. `softmaxes` names each layer's node, in the order of the layers; empty where none was found.

    `difference`: by how much logits change where attention is open and nothing edits it. `problem` says why attention
    cannot be opened, empty where it can; `without` why there is no map of norms, empty where there is one.
    """

    inputs: tuple[str, ...]
    logits: str
    opset: int
    softmaxes: tuple[str, ...] = ()
    heads: int = 0
    width: int = 0
    precision: str = ""
    readout: int | None = None
    """Token that the classifier reads; None where it reads the sum of the states under the weights."""
    expanded: int = 0
    difference: float | None = None
    problem: str = ""
    without: str = ""


def inspect_file(file: Path) -> Inspection:
    """Open a file's attention and run it on ids that every vocabulary has; raises ModelRejected if it cannot be run."""
    plain = load_plain(file, "cpu", TensorNames())
    names = tuple(plain.called)
    ids = torch.ones(len(LENGTHS), LENGTHS[0], dtype=torch.long)
    inputs = {name: torch.zeros_like(ids) if name == INPUTS[-1] else ids for name in names}
    found = Inspection(inputs=names, logits=plain.logits, opset=ir.load(file).opset_imports.get("", 0))
    try:
        opened = OpenSession.of(file, plain, inputs, "cpu")
    except NotOpenedError as error:
        return replace(found, problem=str(error))
    seen, original = opened.see(inputs, weights=False).logits, plain.session.run([plain.logits], inputs)[0]
    return replace(
        found,
        softmaxes=opened.softmaxes,
        heads=opened.heads,
        width=opened.width,
        precision=str(opened.dtype).removeprefix("torch."),
        readout=None if opened.pooled else opened.readout,
        expanded=opened.expanded,
        difference=largest_gap(seen, original),
        without=opened.without,
    )


def write_opened(file: Path, logits: str, out: Path) -> None:
    """Write the file with its attention open, weights beside it if they lie beside the original.

    Raises NotOpenedError, OSError.
    """
    model = ir.load(file)
    outside = any(isinstance(value.const_value, ir.ExternalTensor) for value in model.graph.initializers.values())
    open_attention(model, logits)
    ir.save(model, out, external_data=f"{out.name}.data" if outside else None)
