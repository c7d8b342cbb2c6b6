"""How calls are spread over the addresses of a target, as gRPC is told."""

from __future__ import annotations

import json
from typing import Literal, TypeAlias

Balancing: TypeAlias = Literal["pick_first", "round_robin"]

RESOLVE_AGAIN_MILLISECONDS = 5_000
"""At the soonest, when a connection has ended: gRPC's own half a minute is long for who must find new processes."""


def balanced(balancing: Balancing) -> tuple[tuple[str, str | int], ...]:
    """The channel's options. Raises ValueError for what is no way of balancing."""
    if balancing not in {"pick_first", "round_robin"}:
        message = f'balancing must be "pick_first" or "round_robin", not {balancing!r}'
        raise ValueError(message)
    return (
        ("grpc.service_config", json.dumps({"loadBalancingConfig": [{balancing: {}}]})),
        ("grpc.dns_min_time_between_resolutions_ms", RESOLVE_AGAIN_MILLISECONDS),
    )
