"""An .onnx file, with the configuration and tokenizer that lie beside it, or elsewhere."""

from __future__ import annotations

from pathlib import Path

from rollcall.bringing.parts import Part, Source, descriptions, parts_of
from rollcall.domain.errors import ModelRejected

MODEL = "model.onnx"


def read_export(file: Path, *, described: Path | None) -> Source:
    """Find an export's files; `described` holds its configuration and tokenizer, if its own directory does not.

    Raises ModelRejected, OSError.
    """
    beside = parts_of(file.parent)
    if file.name not in beside:
        message = f"no file {file}"
        raise ModelRejected(message)
    home = described or next(
        (each for each in (file.parent, file.parent.parent) if (each / "config.json").is_file()), None
    )
    if home is None:
        message = f"{file} has no config.json beside it: name the directory that has (--tokenizer DIRECTORY)"
        raise ModelRejected(message)
    weights = _weights(file)
    if missing := weights - beside.keys():
        message = f"{file} leads to {min(missing)!r}, which is no file of its directory"
        raise ModelRejected(message)
    own = beside[file.name]
    return Source(
        kind="an ONNX file",
        name=file.stem if file.stem != Path(MODEL).stem else file.resolve().parent.name,
        copied=(
            Part(name=MODEL, size=own.size, open=own.open),
            *(beside[name] for name in sorted(weights)),
            *descriptions(beside if home == file.parent else parts_of(home)),
        ),
    )


def _weights(file: Path) -> set[str]:
    """Names of files that a graph keeps weights in; raises ModelRejected for one that lies elsewhere."""
    try:
        from rollcall.models.exported import weight_files  # noqa: PLC0415 - its runtime is an extra
    except ImportError as error:
        message = f"{file} needs ONNX Runtime: pip install 'rollcall[onnx]' ({error})"
        raise ModelRejected(message) from error
    return {path.name for path in weight_files(file)}
