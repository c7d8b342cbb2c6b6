"""`rollcall inspect`: what an exported file holds, layer by layer. Heavy packages wait until it runs."""
# ruff: noqa: PLC0415, T201 - imports wait for their command, which prints its answer

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rollcall.domain.errors import ModelRejected

if TYPE_CHECKING:
    from rollcall.backends.onnx.inspection import Inspection

FOUND, NOT_FOUND = 0, 1


def inspect_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", type=Path, metavar="FILE", help="an .onnx file")
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.add_argument("--write", type=Path, metavar="OUT", help="also write the file with its attention open")


def inspect(options: argparse.Namespace) -> int:
    """Print what was found; 1 where attention cannot be opened. Raises ModelRejected, OSError."""
    if not options.model.is_file():
        message = f"no file {options.model}"
        raise ModelRejected(message)
    try:
        from rollcall.backends.onnx.inspection import inspect_file, write_opened
    except ImportError as error:
        message = f"{options.model} needs ONNX Runtime: pip install 'rollcall[onnx]' ({error})"
        raise ModelRejected(message) from error
    found = inspect_file(options.model)
    if options.write is not None and not found.problem:
        write_opened(options.model, found.logits, options.write)
    print(json.dumps(asdict(found), indent=2) if options.json else "\n".join(_lines(options.model, found)))
    return NOT_FOUND if found.problem else FOUND


def _lines(file: Path, found: Inspection) -> list[str]:
    head = [f"{file}: opset {found.opset}; takes {', '.join(found.inputs)}; gives {found.logits}"]
    if found.problem:
        return [*head, f"attention cannot be opened: {found.problem}", "It is explained by removing words alone."]
    written = f"; {found.expanded} fused operators were written out" if found.expanded else ""
    return [
        *head,
        f"{len(found.softmaxes)} layers of {found.heads} heads in {found.precision}{written}:",
        *(f"  {layer:>3}  {name}" for layer, name in enumerate(found.softmaxes)),
        _read(found),
        f"With attention open and nothing edited, logits differ by {found.difference:.3g}.",
        found.without or "What every layer makes of its values was found, too: norms can be rolled out.",
    ]


def _read(found: Inspection) -> str:
    if found.readout is None:
        return f"The classifier reads the sum of the states under these weights, {found.width} numbers."
    return f"The classifier reads token {found.readout}, {found.width} numbers."
