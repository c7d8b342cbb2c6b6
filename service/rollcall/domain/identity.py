"""Who asks, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Role(Enum):
    """What somebody is here for. No role implies another; an identity may have several."""

    CALLER = "caller"
    """Asks for predictions and explanations."""
    AUDITOR = "auditor"
    """Reads, verifies and exports records."""
    REVIEWER = "reviewer"
    """Works on reviews of decisions."""
    APPROVER = "approver"
    """Approves what somebody else asked for: the second pair of eyes."""
    OFFICER = "officer"
    """Holds and erases records: data protection."""
    ADMIN = "admin"
    """Loads and unloads models."""
    METRICS = "metrics"
    """Reads statistics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Somebody whose credentials were checked.

    `tenant` is whom quotas and fair shares of the device go by, and whose the records of their requests are. `sees`:
    the tenants whose records they may ask of, None for all.
    """

    name: str
    tenant: str
    roles: frozenset[Role]
    sees: frozenset[str] | None = None


ANYONE = Identity(name="", tenant="", roles=frozenset({Role.CALLER}))
"""Whoever asks where nobody has to say who they are."""
ANYONE_AT_ALL = Identity(name="", tenant="", roles=frozenset(Role))
"""The same where the operator dangerously trusts them with everything."""
