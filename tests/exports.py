"""Exports of Hugging Face classifiers to ONNX as users make them, by either of torch's exporters."""

from __future__ import annotations

import inspect
import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx.helper import make_node
from transformers import AutoModelForSequenceClassification, AutoTokenizer

LEGACY_OPSET, DYNAMO_OPSET = 17, 18


class Positional(torch.nn.Module):
    """A model that takes its inputs in order and returns nothing but logits, as torch's older exporter wants it."""

    def __init__(self, model: torch.nn.Module, names: list[str]) -> None:
        """Wrap a model; `names` are its inputs."""
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Logits."""
        logits: torch.Tensor = self.model(**dict(zip(self.names, tensors, strict=True))).logits
        return logits


def export(
    directory: Path, out: Path, *, attention: str = "sdpa", dynamo: bool = False, opset: int | None = None
) -> Path:
    """Export the classifier in `directory` into `out`, beside its configuration and tokenizer; return the file."""
    out.mkdir(parents=True)
    for description in directory.glob("*.json"):
        shutil.copy(description, out)
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        directory, attn_implementation=attention, dtype=torch.float32
    )
    wanted = AutoTokenizer.from_pretrained(directory).model_input_names
    taken = inspect.signature(model.forward).parameters
    known = ("input_ids", "attention_mask", "token_type_ids")
    names: list[str] = [name for name in known if name in wanted and (name in taken or not dynamo)]
    ids = torch.arange(5, 23).reshape(2, 9)
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    given: dict[str, Any] = {name: inputs[name] for name in names}
    file = out / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, and of the older exporter's age
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        if dynamo:
            axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
            torch.onnx.export(
                model,
                kwargs=given,
                f=file,
                dynamo=True,
                opset_version=opset or DYNAMO_OPSET,
                input_names=names,
                output_names=["logits"],
                dynamic_shapes=dict.fromkeys(names, axes),
                verbose=False,
            )
        else:
            free = {name: {0: "batch", 1: "sequence"} for name in names} | {"logits": {0: "batch"}}
            torch.onnx.export(
                Positional(model.train(mode=False), names),
                tuple(given.values()),
                file,
                dynamo=False,
                opset_version=opset or LEGACY_OPSET,
                input_names=names,
                output_names=["logits"],
                dynamic_axes=free,
            )
    return file


def hide_attention(file: Path) -> None:
    """Write the softmax of every layer out in two steps: the same answers, from a graph in which none is found."""
    model = onnx.load(file)
    for node in [node for node in model.graph.node if node.op_type == "Softmax"]:
        at, (scores,), (weights,) = list(model.graph.node).index(node), node.input, node.output
        model.graph.node.remove(node)
        model.graph.node.insert(at, make_node("Exp", [f"{weights}.log"], [weights]))
        model.graph.node.insert(at, make_node("LogSoftmax", [scores], [f"{weights}.log"], axis=-1))
    onnx.save(model, file)
