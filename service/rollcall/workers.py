"""One process of several behind one gRPC port: which one it is, and what that changes in the settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rollcall.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Number `index` of as many workers as there are `devices`; all listen on `grpc_port`, each computes on its own."""

    index: int
    devices: tuple[str, ...]
    grpc_port: int

    @property
    def device(self) -> str:
        """Where its models run."""
        return self.devices[self.index]

    @property
    def sharers(self) -> int:
        """Workers that take from the same device's memory, itself included."""
        return self.devices.count(self.device)

    def settings(self, whole: Settings) -> Settings:
        """Make everybody's settings this worker's.

        Its admin port is the first one plus its index (a free one stays a free one), its state a directory of its own.
        """
        admin, state = whole.admin, whole.state
        return replace(
            whole,
            grpc=replace(whole.grpc, port=self.grpc_port),
            admin=replace(admin, port=admin.port and admin.port + self.index),
            state=replace(state, directory=state.directory and state_directory(state.directory, self.index)),
            models=tuple(replace(model, device=self.device) for model in whole.models),
        )

    def describe(self) -> dict[str, str | int]:
        """Tell operators which one it is."""
        return {"index": self.index, "of": len(self.devices), "device": self.device}


def state_directory(whole: Path, index: int) -> Path:
    """Return the part of the state's directory that one worker owns."""
    return whole / f"worker-{index}"
