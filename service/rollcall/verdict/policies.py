"""The policies that a request may name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rollcall.domain.policy import Policy

STANDARD = Policy(name="standard", version=2)

POLICIES: Mapping[str, Policy] = MappingProxyType({policy.name: policy for policy in (STANDARD,)})
"""By name."""
