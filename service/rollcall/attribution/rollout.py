"""ATTENTION_ROLLOUT and NORM_ROLLOUT: how much of each token reaches the read-out position through all layers."""

from __future__ import annotations

import torch


def attention_rollout(fused: torch.Tensor, readout: int, start_layer: int = 0) -> torch.Tensor:
    """Rollout of attention (Abnar and Zuidema 2020, section 3): rows of A + I normalised, multiplied over the layers.

    `fused` [B, L, Q, K] is attention fused over heads; returns the read-out row [B, K] of the product from
    `start_layer` up. Only that row is computed, as a chain of row vectors.
    """
    with_residual = fused + torch.eye(fused.shape[-1], dtype=fused.dtype, device=fused.device)
    return _chain(with_residual / with_residual.sum(dim=-1, keepdim=True), readout, start_layer)


def norm_rollout(norms: torch.Tensor, readout: int) -> torch.Tensor:
    """Rollout of transformed value norms [B, L, Q, K], rows summing to 1, residual already inside (Modarressi et al.

    2022).
    """
    return _chain(norms, readout, 0)


def _chain(layers: torch.Tensor, readout: int, start_layer: int) -> torch.Tensor:
    row = layers[:, -1, readout].unsqueeze(1)
    for layer in range(layers.shape[1] - 2, start_layer - 1, -1):
        row = row @ layers[:, layer]
    return row.squeeze(1)
