"""INPUT_X_GRADIENT: the gradient of the margin times the word embedding (Shrikumar et al. 2016; Denil et al. 2014)."""

from __future__ import annotations

import numpy as np

from rollcall.domain.maps import Floats

INPUT = (1.0,)
"""Where the gradient is taken: at the input itself."""


def input_x_gradient(at: Floats) -> Floats:
    """Signed weights per token [T] from `at` [1, T], gradient times embedding summed over the dimensions.

    The map keeps what is positive per unit: what speaks for the target, as the effects do that it is held against. The
    absolute value (Abnar and Zuidema 2020, section 4; Jain and Wallace 2019, section 4.1) would rank words that speak
    against the target among those that speak for it.
    """
    (weights,) = at
    return np.asarray(weights)
