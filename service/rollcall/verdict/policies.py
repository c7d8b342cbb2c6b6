"""The policies that a request may name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rollcall.domain.policy import Policy, ThoroughPolicy

STANDARD = Policy(name="standard", version=3)

THOROUGH = ThoroughPolicy(name="thorough", version=1)
"""What CheckLevel.THOROUGH adds to whichever policy decides."""

POLICIES: Mapping[str, Policy] = MappingProxyType({policy.name: policy for policy in (STANDARD,)})
"""By name."""
