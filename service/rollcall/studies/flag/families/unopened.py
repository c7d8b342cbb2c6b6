"""Families whose attention cannot be opened: another family's models as exported graphs in which no softmax is found.

The weights, the answers and the inputs are those of the other family; what is left to check are removals alone.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoModelForSequenceClassification

from rollcall.studies.flag.families import planted, tuned
from rollcall.studies.flag.families.base import Family, Member, recipe_digest

OPSET: Final = 17
NAMES: Final = ("input_ids", "attention_mask")
EXAMPLE: Final = (2, 9)
"""Rows and tokens of what the exporter traces the model with; both are free in the graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRecipe:
    """Whose models are exported, by name and digest."""

    of: str
    digest: str
    opset: int = OPSET


class _Positional(torch.nn.Module):
    """A classifier that takes its inputs in order and returns logits alone, as the exporter wants it."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(**dict(zip(NAMES, tensors, strict=True))).logits
        return logits


def export_unopened(model: Path, directory: Path) -> None:
    """Write the classifier of a directory as a graph beside its descriptions, without a softmax to be found."""
    directory.mkdir(parents=True, exist_ok=True)
    for description in model.glob("*.json"):
        (directory / description.name).write_bytes(description.read_bytes())
    loaded: Any = AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.float32)
    ids = torch.arange(5, 5 + EXAMPLE[0] * EXAMPLE[1]).reshape(EXAMPLE)
    mask = torch.ones_like(ids)
    mask[1, EXAMPLE[1] // 2 :] = 0
    file = directory / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, and of the exporter's age
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            _Positional(loaded.train(mode=False)),
            (ids, mask),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(NAMES),
            output_names=["logits"],
            dynamic_axes={name: {0: "batch", 1: "sequence"} for name in NAMES} | {"logits": {0: "batch"}},
        )
    hide_attention(file)


def hide_attention(file: Path) -> None:
    """Write every softmax of a graph out in two steps: the same answers, and none is found."""
    import onnx  # noqa: PLC0415 - of an extra

    graph = onnx.load(file)
    for node in [node for node in graph.graph.node if node.op_type == "Softmax"]:
        at, (scores,), (weights,) = list(graph.graph.node).index(node), node.input, node.output
        graph.graph.node.remove(node)
        graph.graph.node.insert(at, onnx.helper.make_node("Exp", [f"{weights}.log"], [weights]))
        graph.graph.node.insert(at, onnx.helper.make_node("LogSoftmax", [scores], [f"{weights}.log"], axis=-1))
    onnx.save(graph, file)


def unopened(family: Family) -> Family:
    """The family of another one's models, exported so that nothing but removals can be asked of them."""
    name = f"{family.name}-unopened"

    def build(seed: int, inputs: int, data: Path | None, directory: Path) -> Member:
        with tempfile.TemporaryDirectory() as scratch:
            built = family.build(seed, inputs, data, Path(scratch) / "model")
            export_unopened(built.directory, directory)
        return replace(built, family=name, directory=directory)

    return replace(
        family,
        name=name,
        truth=f"The models of {family.name} as exported graphs: removals alone, no attention.",
        quick=False,
        build=build,
        digest=recipe_digest(name, ExportRecipe(of=family.name, digest=family.digest)),
        packages=("onnx", "onnxruntime"),
    )


def _named(name: str) -> Family:
    return next(family for family in (*planted.FAMILIES, *tuned.FAMILIES) if family.name == name)


FAMILIES: Final = (unopened(_named("honest")), unopened(_named("sst2-2")))
