"""An exported file as it is: which inputs it may take, and where its logits are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from rollcall.backends.onnx.pooling import is_recurrent
from rollcall.backends.onnx.sessions import Session
from rollcall.backends.onnx.surgery import expose
from rollcall.domain.decision import Task
from rollcall.domain.errors import ModelRejected
from rollcall.domain.model import TensorNames

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""What a graph may take, as exporters call it, in the order of staged rows."""
NEEDED = INPUTS[:2]
LOGITS = "logits"
ENDINGS = {"Softmax": Task.SINGLE_LABEL, "LogSoftmax": Task.SINGLE_LABEL, "Sigmoid": Task.MULTI_LABEL}
"""What makes probabilities of logits, in a model of which task: its input is read in the place of its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """A file that runs. `called`: what the graph calls those of INPUTS that it takes; `logits`: the name of its logits.

    Where the file itself gives probabilities, `ending` is the operator that makes them of the logits, and `task` what
    that operator is for.
    """

    session: Session
    recurrent: bool
    """Whether a text goes through it token by token."""
    called: Mapping[str, str]
    logits: str
    ending: str = ""
    task: Task | None = None


def load_plain(file: Path, device: str, names: TensorNames) -> Plain:
    """Load a file whose tensors have these names; raises ModelRejected."""
    called = {name: names.of(name) for name in INPUTS}
    try:
        session = Session(file, folder=file.parent, device=device, called=called)
    except Exception as error:
        message = f"{file} cannot be loaded: {type(error).__name__}: {error}"
        raise ModelRejected(message[:400]) from error
    given = {port.name for port in session.inputs}
    if not {called[name] for name in NEEDED} <= given <= set(called.values()):
        message = (
            f"{file} takes the inputs {', '.join(sorted(given))}; supported: {', '.join(called.values())} "
            "(tensors.NAME says that one is called otherwise)"
        )
        raise ModelRejected(message)
    called = {name: own for name, own in called.items() if own in given}
    output = _output(file, [port.name for port in session.outputs], names.output)
    model = ir.load(file)
    recurrent = is_recurrent(model.graph)
    maker = next(each for each in model.graph.outputs if each.name == output).producer()
    if maker is None or maker.op_type not in ENDINGS:
        return Plain(session=session, recurrent=recurrent, called=called, logits=output)
    rank = next(port.rank for port in session.outputs if port.name == output)
    logits = _beneath(file, maker, rank)
    expose(model.graph, logits)
    content = ir.to_proto(model).SerializeToString()
    session = Session(content, folder=file.parent, device=device, called=called)
    return Plain(
        session=session,
        recurrent=recurrent,
        called=called,
        logits=logits,
        ending=maker.op_type,
        task=ENDINGS[maker.op_type],
    )


def _beneath(file: Path, maker: ir.Node, rank: int) -> str:
    """Name the logits that an operator makes probabilities of; raises ModelRejected where it is not over classes."""
    logits = maker.inputs[0]
    if logits is None or not logits.name or maker.attributes.get_int("axis", -1) not in {-1, rank - 1}:
        message = f"{file} ends in a {maker.op_type} that is not over classes"
        raise ModelRejected(message)
    return logits.name


def _output(file: Path, outputs: list[str], named: str) -> str:
    """Which output holds what the model says of the classes; raises ModelRejected."""
    wanted = named or (LOGITS if LOGITS in outputs else outputs[0] if len(outputs) == 1 else "")
    if wanted not in outputs:
        message = f"{file} gives the outputs {', '.join(outputs)}; expected one named {wanted or LOGITS}"
        raise ModelRejected(message)
    return wanted
