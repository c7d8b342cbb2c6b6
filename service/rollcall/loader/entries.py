"""One model, loaded and proved, as the catalogue has it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rollcall.domain.errors import ModelRejected, RollcallError
from rollcall.models.loading import LoadedModel, load_model
from rollcall.pipeline.catalog import Entry
from rollcall.settings import LimitSettings, ModelSpec
from rollcall.verdict.calibration import UNCALIBRATED, Calibration, calibration_path, parse_calibration
from rollcall.verdict.policies import STANDARD


def prove(spec: ModelSpec, limits: LimitSettings) -> Entry:
    """Load a model, and prove it, as a server would. Raises ModelRejected."""
    return make_entry(spec, load_spec(spec, limits), limits)


def load_spec(spec: ModelSpec, limits: LimitSettings) -> LoadedModel:
    """Load a model as its operator describes it; raises ModelRejected."""
    with refusing(spec):
        return load_model(
            spec.path,
            device=spec.device,
            dtype=spec.dtype,
            max_units=_max_units(spec, limits),
            tokens=spec.tokens or (),
            declared=spec.declared,
        )


@contextmanager
def refusing(spec: ModelSpec) -> Iterator[None]:
    """Blame the model for whatever its files do while it is built, proved or warmed up: ModelRejected.

    A tokenizer's own language may panic, which is no Exception: it must not end the thread that everybody waits for.
    """
    try:
        yield
    except (RollcallError, asyncio.CancelledError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        message = f"{spec.path} cannot be built and proved: {type(error).__name__}: {error}"
        raise ModelRejected(message) from error


def _max_units(spec: ModelSpec, limits: LimitSettings) -> int:
    return spec.declared.max_units or limits.max_units


def make_entry(spec: ModelSpec, model: LoadedModel, limits: LimitSettings) -> Entry:
    """Describe a loaded model; raises ModelRejected for a threshold or calibration that does not fit it."""
    if spec.threshold is not None and spec.threshold.label not in model.labels:
        message = f"model {spec.name}: threshold.label {spec.threshold.label!r} is none of {', '.join(model.labels)}"
        raise ModelRejected(message)
    beside = calibration_path(spec.path)
    path = spec.calibration or (beside if beside.is_file() else None)
    calibration = None if path is None else read_calibration(spec.name, path, model.digest, model.backend.dtype)
    card = model.card(
        spec.name,
        revision=spec.revision,
        max_units=_max_units(spec, limits),
        max_characters=limits.max_characters,
        calibration=calibration.reference() if calibration else UNCALIBRATED,
        threshold=spec.threshold,
    )
    return Entry(card=card, calibration=calibration)


def read_calibration(name: str, path: Path, digest: str, dtype: str) -> Calibration:
    """Read a model's calibration file; raises ModelRejected."""
    try:
        return parse_calibration(json.loads(path.read_text()), model_digest=digest, dtype=dtype, policy=STANDARD)
    except (OSError, ValueError) as error:
        message = f"model {name}: calibration {path} cannot be used: {error}"
        raise ModelRejected(message) from error
