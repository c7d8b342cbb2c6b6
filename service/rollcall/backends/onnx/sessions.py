"""One graph in ONNX Runtime: torch tensors in, torch tensors out, on one device.

Threads do not spin while they wait; there are as many as torch may use, which the cgroup's share of the CPUs decides.
On CUDA outputs stay on the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnxruntime
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as raised

from rollcall.domain.errors import DeviceLost

Tensor = torch.Tensor

FATAL_ONLY = 4
"""Severity from which on the runtime writes to stderr by itself. Its errors are raised: who catches them logs them."""
UNUSABLE = (raised.EPFail, raised.Fail, raised.InvalidGraph, raised.NotImplemented, raised.RuntimeException)
"""What the runtime raises on a graph that it cannot run."""
AS_IT_IS: Mapping[str, str] = MappingProxyType({})
_OUT_OF_MEMORY = ("failed to allocate memory", "bad allocation", "bad_alloc", "out of memory")
_LOST = ("cuda failure", "cuda error", "cudnn_status_execution_failed", "cublas_status_execution_failed")
_DTYPES = {
    "tensor(int64)": torch.int64,
    "tensor(int32)": torch.int32,
    "tensor(bool)": torch.bool,
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output as the graph declares it."""

    name: str
    dtype: torch.dtype
    rank: int


class Session:
    """Runs a graph from a file, or from bytes whose large weights lie in files of `folder`."""

    def __init__(self, model: Path | bytes, *, folder: Path, device: str, called: Mapping[str, str] = AS_IT_IS) -> None:
        """Load; `called` says what the graph calls some inputs. Raises one of UNUSABLE."""
        self._called = called
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = FATAL_ONLY
        options.enable_mem_pattern = False  # patterns are kept for every shape that was ever seen
        options.enable_cpu_mem_arena = False  # an arena never gives back what one long text took
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder.resolve()))
        self.device = torch.device(device)
        self._session = onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model), options, providers=_providers(self.device)
        )
        self.inputs = tuple(_port(each) for each in self._session.get_inputs())
        self.outputs = tuple(_port(each) for each in self._session.get_outputs())
        self._dtypes = {port.name: port.dtype for port in _ports(self._session)}

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Tensor]) -> list[Tensor]:
        """Outputs by name, in order; feeds are given the types that the graph declares.

        Raises MemoryError, DeviceLost, and what the runtime raises.
        """
        named = {self._called.get(name, name): tensor for name, tensor in feeds.items()}
        typed = {name: tensor.to(self._dtypes[name]).contiguous() for name, tensor in named.items()}
        try:
            return self._run_bound(outputs, typed) if self.device.type == "cuda" else self._run_here(outputs, typed)
        except Exception as error:
            said = str(error).lower()
            if any(sign in said for sign in _OUT_OF_MEMORY):
                raise MemoryError from error
            if any(sign in said for sign in _LOST):
                raise DeviceLost from error
            raise

    def _run_here(self, outputs: Sequence[str], feeds: Mapping[str, Tensor]) -> list[Tensor]:
        found = self._session.run(list(outputs), {name: tensor.numpy() for name, tensor in feeds.items()})
        return [torch.from_numpy(np.asarray(array)) for array in found]

    def _run_bound(self, outputs: Sequence[str], feeds: Mapping[str, Tensor]) -> list[Tensor]:
        binding = self._session.io_binding()
        for name, tensor in feeds.items():
            binding.bind_cpu_input(name, tensor.cpu().numpy())
        for name in outputs:
            binding.bind_output(name, "cuda", self.device.index or 0)
        self._session.run_with_iobinding(binding)
        return [torch.utils.dlpack.from_dlpack(value) for value in binding.get_outputs()]


def _providers(device: torch.device) -> list[str | tuple[str, dict[str, int]]]:
    if device.type == "cuda":
        return [("CUDAExecutionProvider", {"device_id": device.index or 0}), "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]


def _ports(session: onnxruntime.InferenceSession) -> tuple[Port, ...]:
    found = (*session.get_inputs(), *session.get_overridable_initializers())
    return tuple(_port(each) for each in found)


def _port(declared: onnxruntime.NodeArg) -> Port:
    return Port(name=declared.name, dtype=_DTYPES.get(declared.type, torch.float32), rank=len(declared.shape))
