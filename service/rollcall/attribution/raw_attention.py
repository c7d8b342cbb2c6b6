"""RAW_ATTENTION: the read-out query's attention in the last layer, averaged over heads.

Layers and heads are selectable.
"""

from __future__ import annotations

import torch


def raw_attention(readout: torch.Tensor, layers: tuple[int, ...] = (), heads: tuple[int, ...] = ()) -> torch.Tensor:
    """Weights per token [B, K] from `readout` [B, L, H, K]; no layers mean the last, no heads all."""
    selected = readout[:, list(layers) or [readout.shape[1] - 1]]
    return selected[:, :, list(heads) if heads else slice(None)].mean(dim=(1, 2))
