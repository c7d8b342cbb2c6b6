"""GRADIENT_ROLLOUT: rollout of positive gradient times attention for the target (Chefer et al. 2021b, section 3.1)."""

from __future__ import annotations

import torch


def gradient_rollout(gradients: torch.Tensor, readout: int) -> torch.Tensor:
    """Start from R = I, then R += C_l R for each layer's C_l; return the read-out row of R - I.

    C_l, `gradients` [B, L, Q, K], is the mean over heads of relu(gradient * attention); returns [B, K], not normalised.
    The identity's own share stays out of the map, as in the authors' code: it belongs to the read-out token, and is no
    attention. Where that token is a word's, what its own embedding says past all attention is not in the map.
    """
    row = torch.zeros_like(gradients[:, 0, 0])
    row[:, readout] = 1
    row = row.unsqueeze(1)
    for layer in range(gradients.shape[1] - 1, -1, -1):
        row = row + row @ gradients[:, layer]
    row = row.squeeze(1).clone()
    row[:, readout] -= 1
    return row
