"""Tiny models: more than one thread only makes them slower."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
