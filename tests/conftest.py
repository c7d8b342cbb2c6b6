"""What holds for all tests: one thread that computes, or tests that run beside others wait for each other's threads."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
