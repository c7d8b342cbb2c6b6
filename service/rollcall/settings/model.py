"""One model to serve, as its operator describes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rollcall.domain.inputs import Threshold
from rollcall.domain.model import UNDECLARED, Declared, model_key
from rollcall.domain.recording import Durability, RecordMode

MODEL_FILE = "model.toml"
"""In a repository, of each revision: what [models.NAME] would say."""
LEAST_TOKENS = 16
"""Below which a model cannot be proved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model to serve: an existing directory, and what the operator says about it."""

    name: str
    path: Path
    revision: str = ""
    threshold: Threshold | None = None
    calibration: Path | None = None
    device: str = "cpu"
    dtype: str = "float32"
    """Precision of weights and arithmetic."""
    tokens: tuple[str, ...] | None = None
    """Of a language model: the tokens among which the next one is asked for."""
    declared: Declared = UNDECLARED
    """What its files do not say, or say otherwise: keys labels, task, max_tokens, max_units, family and
    tensors."""
    audit_mode: RecordMode | None = None
    audit_durability: Durability | None = None
    audit_days: int | None = None

    @property
    def key(self) -> str:
        """What the compute rooms call its weights."""
        return model_key(self.name, self.revision)


def is_servable(path: Path) -> bool:
    """Whether a model may be there: a directory, or a file that was exported to ONNX."""
    return path.is_dir() or (path.is_file() and path.suffix == ".onnx")
