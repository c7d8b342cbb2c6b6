"""Layers whose queries see a window of the text: which they are, and what each query sees there.

The graph says it: beyond a window weights are 0. A window of another size than the configuration's is none: weights
may be 0 for other reasons.

Shapes: B batch, H head, Q query, K key.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rollcall.backends.onnx.surgery import NotOpenedError

Tensor = torch.Tensor


def probe_length(reach: int, longest: int) -> int:
    """Tokens of a text that is longer than a window to both sides of its middle, or of the longest one."""
    return min(2 * reach + 3, longest)


def find_windows(weights: Sequence[Tensor], reach: int) -> tuple[int | None, ...]:
    """How far each layer's queries see, None where they see everything, by the weights [B, H, Q, K] of a long text.

    Raises NotOpenedError where a layer sees as far as nobody said.
    """
    places = torch.arange(weights[0].shape[-1])
    distance = (places[:, None] - places).abs()
    found = [int(distance[(each != 0).any(dim=0).any(dim=0)].max()) for each in weights]
    windows = tuple(None if far == len(places) - 1 else far for far in found)
    for layer, far in enumerate(windows):
        if far not in {None, reach}:
            message = f"layer {layer} looks {far} tokens far, and its configuration says {reach}"
            raise NotOpenedError(message)
    return windows


def seen_within(window: int | None, visible: Tensor) -> Tensor | None:
    """Which keys each query sees [B, 1, Q, K], of those that are `visible` [B, K]; None without a window."""
    if window is None:
        return None
    places = torch.arange(visible.shape[1])
    near = (places[:, None] - places).abs() <= window
    return near & visible.bool()[:, None, None]
