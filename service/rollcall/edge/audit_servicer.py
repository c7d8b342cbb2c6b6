"""AuditService: who asks, may they, convert, ask the archive, convert back. Each method's role is in `audit_roles`."""

from __future__ import annotations

from rollcall.edge.audit_governing import Governing
from rollcall.edge.audit_reading import Reading


class AuditServicer(Reading, Governing):
    """The service's methods over an open log."""
