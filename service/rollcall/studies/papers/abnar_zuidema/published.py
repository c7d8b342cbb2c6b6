"""What was published, and the names that it goes by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from rollcall.studies.papers.intervals import Mean

MAPS: Final = ("raw", "rollout", "flow")
SCOPES: Final = ("tokens", "words")
REFERENCES: Final = ("blank-out", "hidden", "gradient")
PUBLISHED: Final[Mapping[tuple[str, str], tuple[float, ...]]] = {
    ("blank-out", "raw"): (0.69, 0.10, -0.11, -0.09, 0.20, 0.29),
    ("blank-out", "rollout"): (0.32, 0.38, 0.51, 0.62, 0.70, 0.71),
    ("blank-out", "flow"): (0.32, 0.44, 0.70, 0.70, 0.71, 0.70),
    ("gradient", "raw"): (0.53, 0.16, -0.06, 0.00, 0.24, 0.46),
    ("gradient", "rollout"): (0.22, 0.27, 0.39, 0.47, 0.53, 0.54),
    ("gradient", "flow"): (0.22, 0.31, 0.54, 0.61, 0.60, 0.61),
}
"""Tables 1 and 2 of the paper: mean Spearman correlation by layer."""
Means: TypeAlias = Mapping[tuple[str, str, str], Sequence[Mean]]
"""By scope, reference and map, layer by layer."""
