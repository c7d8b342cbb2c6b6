"""When to ask again: pure arithmetic, so that both clients keep one schedule.

Only UNAVAILABLE is asked again: every call is free of side effects, but no other failure gets better by itself. The
wait is exponential backoff with full jitter (a random share of the backoff), never less than the service's advice, and
never one that would end after the deadline.
"""

from __future__ import annotations

import math

from rollcall_client.errors import RollcallError, Unavailable

INITIAL_BACKOFF_SECONDS = 0.1
BACKOFF_FACTOR = 2.0
MAX_BACKOFF_SECONDS = 5.0
# More steps change nothing, and a power that grew for ever would overflow.
_STEPS_TO_MAX = math.ceil(math.log(MAX_BACKOFF_SECONDS / INITIAL_BACKOFF_SECONDS, BACKOFF_FACTOR))


def wait_before_retry(
    failure: RollcallError, *, retries_done: int, retries: int, remaining: float, jitter: float
) -> float | None:
    """Seconds to wait before the next try, or None to give up.

    Args:
        failure: what just happened.
        retries_done: tries so far, the first one not counted.
        retries: the most retries.
        remaining: seconds until the deadline.
        jitter: a random number between 0 and 1.
    """
    if not isinstance(failure, Unavailable) or retries_done >= retries:
        return None
    steps = min(retries_done, _STEPS_TO_MAX)
    backoff = min(INITIAL_BACKOFF_SECONDS * BACKOFF_FACTOR**steps, MAX_BACKOFF_SECONDS)
    wait = max(jitter * backoff, failure.retry_after or 0.0)
    return wait if wait < remaining else None
