"""RAW_ATTENTION: the read-out query's attention in the last layer, averaged over heads.

Layers and heads are selectable.
"""

from __future__ import annotations

import torch


def raw_attention(readout: torch.Tensor, layers: tuple[int, ...] = (), heads: tuple[int, ...] = ()) -> torch.Tensor:
    """Weights per token [B, K] from `readout` [B, L, H, K]; no layers mean the last, no heads all."""
    # A list as an index is copied to the device, which is waited for: what is usual is a slice.
    selected = readout[:, list(layers)] if layers else readout[:, -1:]
    return (selected[:, :, list(heads)] if heads else selected).mean(dim=(1, 2))
