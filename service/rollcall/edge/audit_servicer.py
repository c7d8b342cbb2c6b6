"""AuditService: who asks, may they, convert, ask the archive, convert back. Each method's role is in `audit_roles`."""

from __future__ import annotations

from rollcall.edge.audit_exporting import Exporting
from rollcall.edge.audit_following import Following
from rollcall.edge.audit_governing import Governing
from rollcall.edge.audit_reading import Reading
from rollcall.edge.audit_replaying import Replaying
from rollcall.edge.audit_reviewing import Reviewing


class AuditServicer(Reading, Replaying, Reviewing, Governing, Exporting, Following):
    """The service's methods over an open log."""
