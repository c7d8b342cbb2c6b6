"""The demonstration model: a small sentiment classifier that ships with the service.

Nothing here imports torch; only :mod:`rollcall.demo.train`, which builds the model, does.
"""

from pathlib import Path


def model_directory() -> Path:
    """Return the directory of the packaged model, to be opened with ``from_pretrained``."""
    return Path(__file__).resolve().parent / "model"
