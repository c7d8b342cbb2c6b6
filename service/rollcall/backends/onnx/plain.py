"""An exported file as it is: which inputs it may take, and which of its outputs are the logits."""

from __future__ import annotations

from pathlib import Path

from rollcall.backends.onnx.sessions import Session
from rollcall.domain.errors import ModelRejected

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""What a graph may take, as exporters call it, in the order of staged rows."""
NEEDED = frozenset(INPUTS[:2])
LOGITS = "logits"


def load_plain(file: Path, device: str) -> tuple[Session, str]:
    """A session of the file as it is, and the name of its logits; raises ModelRejected."""
    try:
        session = Session(file, folder=file.parent, device=device)
    except Exception as error:
        message = f"{file} cannot be loaded: {type(error).__name__}: {error}"
        raise ModelRejected(message[:400]) from error
    names = {port.name for port in session.inputs}
    if not NEEDED <= names <= set(INPUTS):
        message = f"{file} takes the inputs {', '.join(sorted(names))}; supported: {', '.join(INPUTS)}"
        raise ModelRejected(message)
    outputs = [port.name for port in session.outputs]
    if LOGITS not in outputs and len(outputs) > 1:
        message = f"{file} gives the outputs {', '.join(outputs)}; expected one named {LOGITS}"
        raise ModelRejected(message)
    return session, LOGITS if LOGITS in outputs else outputs[0]
