"""A session's threads, and what becomes of the runtime's faults."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from rollcall.backends.onnx.sessions import Session
from rollcall.domain.errors import DeviceLost


@pytest.fixture
def filling(tmp_path: Path) -> Session:
    """A graph that makes as many zeros as it is told to, and sums them."""
    nodes = [make_node("ConstantOfShape", ["count"], ["zeros"]), make_node("ReduceSum", ["zeros"], ["sum"])]
    ports = (
        [make_tensor_value_info("count", onnx.TensorProto.INT64, [1])],
        [make_tensor_value_info("sum", onnx.TensorProto.FLOAT, [1])],
    )
    file = tmp_path / "filling.onnx"
    onnx.save(
        make_model(make_graph(nodes, "filling", *ports), opset_imports=[make_opsetid("", 17)], ir_version=8), file
    )
    return Session(file, folder=tmp_path, device="cpu")


def test_more_memory_than_there_is_is_an_error_of_memory(filling: Session) -> None:
    """What does not fit is told from what is wrong, so that the batch can be halved; the session lives on."""
    with pytest.raises(MemoryError):
        filling.run(["sum"], {"count": torch.tensor([2**46])})
    assert filling.run(["sum"], {"count": torch.tensor([8])})[0].tolist() == [0.0]


def test_other_faults_stay_what_they_are(filling: Session) -> None:
    """An input of another shape is the runtime's error, and no device is lost for it."""
    with pytest.raises(Exception, match="count") as fault:
        filling.run(["sum"], {"count": torch.tensor([[8]])})
    assert not isinstance(fault.value, (MemoryError, DeviceLost))


def test_feeds_get_the_types_that_the_graph_declares(filling: Session) -> None:
    """Exporters differ in the integers that they take: whoever feeds need not know."""
    assert filling.run(["sum"], {"count": torch.tensor([8], dtype=torch.int32)})[0].dtype is torch.float32


def test_threads_are_torchs_and_do_not_spin(filling: Session) -> None:
    """An idle server takes no processor, and a busy one no more than its share."""
    options = filling._session.get_session_options()
    assert options.intra_op_num_threads == torch.get_num_threads()
    assert options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
