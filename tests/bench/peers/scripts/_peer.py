"""What all peer scripts share. Runs in a peer's environment: standard library, torch and transformers only.

Each line of standard input is a JSON object: {"do": operation, ...fields}. Each answer is one line of JSON, with the
processor and wall seconds that the operation took. What libraries print goes to standard error.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer


class RowCounter:
    """Counts the rows that a model is given, of any batch size."""

    def __init__(self, model: torch.nn.Module) -> None:
        """Watch the model's forward calls."""
        self.rows = 0
        model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, _: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = args[0] if args else kwargs.get("input_ids", kwargs.get("inputs_embeds"))
        self.rows += len(given)

    def take(self) -> int:
        """Rows since the last time."""
        rows, self.rows = self.rows, 0
        return rows


def load(directory: str, **options: Any) -> tuple[Any, Any, RowCounter]:
    """Load model and tokenizer as the library's documentation does, on one thread."""
    torch.set_num_threads(1)
    transformers.logging.disable_progress_bar()
    model = AutoModelForSequenceClassification.from_pretrained(Path(directory), **options).eval()
    return model, AutoTokenizer.from_pretrained(Path(directory)), RowCounter(model)


def versions(packages: list[str]) -> dict[str, Any]:
    """Tell the versions of packages."""
    return {"versions": {name: version(name) for name in packages}}


def serve(operations: dict[str, Callable[..., dict[str, Any]]]) -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    known = {"versions": versions, **operations}
    for line in sys.stdin:
        fields = json.loads(line)
        act = known[fields.pop("do")]
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            answer = act(**fields)
        except Exception:  # noqa: BLE001 - whatever it is, the benchmark tells it
            answer = {"error": traceback.format_exc()}
        answer = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, **answer}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
