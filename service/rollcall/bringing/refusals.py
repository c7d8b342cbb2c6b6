"""What cannot be brought, and what to do instead."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatch

TORCHSCRIPT = (
    "is TorchScript: a compiled program, whose attention cannot be read or edited. Bring the checkpoint that it was "
    "traced from (save_pretrained), or export that to ONNX"
)
TENSORRT = (
    "is a TensorRT engine: compiled for one kind of GPU, its attention fused away. Bring the ONNX file that it was "
    "built from, or the checkpoint"
)
PICKLE = "is a pickle, which may hold code: it was not opened. Bring the checkpoint (save_pretrained) or an ONNX export"
TENSORFLOW = "is of TensorFlow. Load it with from_pretrained(..., from_tf=True) of transformers 4 and save_pretrained"
FLAX = "is of Flax. Load it with from_pretrained(..., from_flax=True) of transformers 4 and save_pretrained"
ADAPTER = "is an adapter without its model. Merge it (merge_and_unload of peft) and save_pretrained"

ADVICE = {
    "*.plan": TENSORRT,
    "*.engine": TENSORRT,
    "*.trt": TENSORRT,
    "*.pt": TORCHSCRIPT,
    "*.pth": TORCHSCRIPT,
    "*.ts": TORCHSCRIPT,
    "*.torchscript": TORCHSCRIPT,
    "*.pkl": PICKLE,
    "*.pickle": PICKLE,
    "*.joblib": PICKLE,
    "adapter_model.*": ADAPTER,
    "*.h5": TENSORFLOW,
    "*.pb": TENSORFLOW,
    "*.msgpack": FLAX,
}
"""By names of files, the first that fits."""
PLATFORMS = {
    "tensorrt": TENSORRT,
    "pytorch": TORCHSCRIPT,
    "tensorflow": TENSORFLOW,
    "ensemble": "is an ensemble. Bring the model in it that decides, by its own directory",
    "python": "is a program. Bring the model that it loads, from its own directory",
}
"""By Triton's platforms and backends."""


def advice_on(names: Iterable[str]) -> str:
    """What to say of the first file that cannot be brought; empty where there is none."""
    for pattern, advice in ADVICE.items():
        for name in names:
            if fnmatch(name.lower(), pattern):
                return f"{name} {advice}"
    return ""
