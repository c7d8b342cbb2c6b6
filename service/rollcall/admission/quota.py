"""What one tenant may take of a server: requests and rows per second, and requests at a time. Pure.

What was spent leaks away at the rate that the quota allows (a leaky bucket as a meter), and may at no time exceed what
`burst_seconds` of the rate come to. Nobody knows beforehand how many rows a request will take, so rows are paid for as
they run, and a tenant in debt waits until it has paid. `now` is a reading of the service's clock.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace

from rollcall.domain.errors import QuotaExceeded

BUSY_RETRY_SECONDS = 1.0
"""When to come back where nothing says when a request will end."""
MOST_TENANTS = 1_000
"""Of which usage is remembered, beside those who have spent something lately."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Bounds for one tenant; None for none."""

    requests_per_second: float | None = None
    rows_per_second: float | None = None
    concurrency: int | None = None


@dataclass(slots=True, kw_only=True)
class Meter:
    """What was spent and has not leaked away, at a time."""

    spent: float = 0.0
    at: float = 0.0

    def leak(self, rate: float | None, now: float) -> float:
        """Let time pass; returns what is still there. Without a rate nothing is counted."""
        self.spent = 0.0 if rate is None else max(0.0, self.spent - rate * max(0.0, now - self.at))
        self.at = max(self.at, now)
        return self.spent


@dataclass(slots=True, kw_only=True)
class Usage:
    """What a tenant uses."""

    running: int = 0
    requests: Meter = field(default_factory=Meter)
    rows: Meter = field(default_factory=Meter)


@dataclass(slots=True, kw_only=True)
class Quotas:
    """Lets requests in by what `of` says of a tenant; used from one event loop. `now` never runs backwards."""

    of: Callable[[str], Quota] = lambda _: Quota()
    burst_seconds: float = 10.0
    usages: dict[str, Usage] = field(default_factory=dict)

    @contextmanager
    def request(self, tenant: str, now: float) -> Iterator[None]:
        """Count a request from now on; raises QuotaExceeded, with when to come back, where one more is too much."""
        quota, usage = self.of(tenant), self._usage(tenant, now)
        if quota.concurrency is not None and usage.running >= quota.concurrency:
            raise QuotaExceeded(tenant, f"at most {quota.concurrency} requests at a time", BUSY_RETRY_SECONDS)
        for meter, rate, what in (
            (usage.requests, quota.requests_per_second, "requests"),
            (usage.rows, quota.rows_per_second, "rows"),
        ):
            wait = self._wait(meter, rate, now)
            if wait > 0:
                raise QuotaExceeded(tenant, f"at most {rate:g} {what} per second", wait)
        usage.requests.spent += 1
        usage.running += 1
        try:
            yield
        finally:
            usage.running -= 1

    def spend(self, tenant: str, rows: int, now: float) -> None:
        """Count rows that have run."""
        usage = self._usage(tenant, now)
        usage.rows.leak(self.of(tenant).rows_per_second, now)
        usage.rows.spent += rows

    def _wait(self, meter: Meter, rate: float | None, now: float) -> float:
        """Seconds until one more fits."""
        spent = meter.leak(rate, now)
        return 0.0 if rate is None else (spent + 1 - max(1.0, rate * self.burst_seconds)) / rate

    def _usage(self, tenant: str, now: float) -> Usage:
        if tenant not in self.usages and len(self.usages) >= MOST_TENANTS:
            self.usages = {name: usage for name, usage in self.usages.items() if self._matters(name, usage, now)}
        return self.usages.setdefault(tenant, Usage())

    def _matters(self, tenant: str, usage: Usage, now: float) -> bool:
        """Whether forgetting what a tenant has used would change anything."""
        quota = self.of(tenant)
        spent = usage.requests.leak(quota.requests_per_second, now), usage.rows.leak(quota.rows_per_second, now)
        return usage.running > 0 or any(spent)


def parse_quotas(content: bytes, usual: Quota) -> Mapping[str, Quota]:
    """Read the file of tenants' quotas, a section each; what it leaves out is as `usual`. Raises ValueError.

    [reviews]
    requests_per_second = 50
    """
    try:
        table = tomllib.loads(content.decode())
    except ValueError as error:
        message = f"is not valid TOML: {error}"
        raise ValueError(message) from error
    return {tenant: _quota(tenant, section, usual) for tenant, section in table.items()}


def _quota(tenant: str, section: object, usual: Quota) -> Quota:
    known = [item.name for item in fields(Quota)]
    if not isinstance(section, dict) or not section.keys() <= set(known):
        message = f"{tenant}: expected a section with some of {', '.join(known)}"
        raise ValueError(message)
    for key, value in section.items():
        right = type(value) is int or (type(value) is float and key != "concurrency")
        if not right or not 0 < value < float("inf"):
            message = f"{tenant}.{key}: expected a {'whole ' if key == 'concurrency' else ''}number above 0"
            raise ValueError(message)
    return replace(usual, **section)
