"""ATTENTION_ROLLOUT and NORM_ROLLOUT: how much of each token reaches the read-out position through all layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def attention_rollout(fused: Sequence[torch.Tensor], readout: int, start_layer: int = 0) -> torch.Tensor:
    """Rollout of attention (Abnar and Zuidema 2020, section 3): rows of A + I normalised, multiplied over the layers.

    `fused`, per layer [B, Q, K], is attention fused over heads; the last layer may hold the read-out query alone.
    Returns the read-out row [B, K] of the product from `start_layer` up. Only that row is computed, as a chain of row
    vectors, and I is never built.
    """
    last = fused[-1]
    row = last[:, readout if last.shape[1] > 1 else 0].clone()
    row[:, readout] += 1
    row = (row / row.sum(dim=-1, keepdim=True)).unsqueeze(1)
    for layer in range(len(fused) - 2, start_layer - 1, -1):
        attention = fused[layer]
        share = row / (1 + attention.sum(dim=-1)).unsqueeze(1)
        # Not `share @ attention`: there a row's last digits depend on where in memory its batch puts it.
        row = (share.transpose(1, 2) * attention).sum(dim=1, keepdim=True) + share
    return row.squeeze(1)


def by_receptive_field(row: torch.Tensor) -> torch.Tensor:
    """Divide each token's part of a causal model's rollout [B, K] by the number of positions that see it.

    The earlier a token, the more ways lead from it to the last position, whatever the attention: what is left is the
    mean over its ways. Rows sum to 1 again.
    """
    share = row / torch.arange(row.shape[1], 0, -1, device=row.device)
    return share / share.sum(dim=-1, keepdim=True)


def norm_rollout(norms: torch.Tensor, readout: int) -> torch.Tensor:
    """Rollout of transformed value norms (Modarressi et al. 2022).

    `norms` [B, L, Q, K], rows summing to 1, residual already inside; returns the read-out row [B, K].
    """
    row = norms[:, -1, readout].unsqueeze(1)
    for layer in range(norms.shape[1] - 2, -1, -1):
        row = row @ norms[:, layer]
    return row.squeeze(1)
