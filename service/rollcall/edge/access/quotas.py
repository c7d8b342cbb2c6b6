"""What each tenant may take, by the settings and by the file of tenants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import partial

from rollcall.admission.quota import Quota, parse_quotas
from rollcall.edge.access.watched import Watched
from rollcall.settings import QuotaSettings


def quota_of(settings: QuotaSettings) -> Callable[[str], Quota]:
    """Tell of a tenant: as its section of the file says now, or as everybody. Raises FileRejected."""
    usual = Quota(**{item.name: getattr(settings, item.name) for item in fields(Quota)})
    if settings.tenants is None:
        return lambda _: usual
    own = Watched(partial(parse_quotas, usual=usual), settings.tenants)
    return lambda tenant: own.get().get(tenant, usual)
