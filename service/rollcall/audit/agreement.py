"""How reviewers do: how many reviews there are, how many are late, and whether two who do not know each other agree."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from rollcall.audit.archive import Archive
from rollcall.audit.events import EventKind
from rollcall.audit.reviewing import SECOND, overdue
from rollcall.audit.reviews import ReviewState
from rollcall.audit.schema import EVENT, RECORD
from rollcall.audit.searching import review_state, reviewed


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Reviews by state, those that are overdue, and first and second opinions: how many pairs, and how many agree.

    `kappa` is Cohen's (1960); None where it is not defined: no pairs, or one disposition everywhere.
    """

    states: Mapping[ReviewState, int]
    overdue: int
    pairs: int
    agreed: int
    kappa: float | None


def statistics(archive: Archive) -> Statistics:
    """Count. Raises LogUnavailable."""
    state = review_state().label("state")
    with archive.reading() as connection:
        reached = select(state).select_from(RECORD).where(archive.seen(), reviewed()).subquery()
        rows = connection.execute(select(reached.c.state, func.count()).group_by(reached.c.state)).all()
        seconds = connection.execute(
            select(EVENT.c.body).where(
                EVENT.c.about == SECOND, EVENT.c.type == EventKind.REVIEW.value, archive.told(EVENT.c.record_id)
            )
        )
        told = [json.loads(body)["details"] for (body,) in seconds]
    pairs = [(each["first"], each["disposition"]) for each in told if each["first"] is not None]
    return Statistics(
        states={ReviewState(name): int(count) for name, count in rows},
        overdue=count_overdue(archive),
        pairs=len(pairs),
        agreed=sum(first == second for first, second in pairs),
        kappa=cohens_kappa(pairs),
    )


def count_overdue(archive: Archive) -> int:
    """Count the reviews that are overdue. Raises LogUnavailable."""
    with archive.reading() as connection:
        late = select(func.count()).select_from(RECORD).where(archive.seen(), reviewed(), overdue(archive))
        return int(connection.execute(late).scalar_one())


def cohens_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Agreement of two raters beyond chance: (p_o - p_e) / (1 - p_e), Cohen (1960); None where it is not defined."""
    if not pairs:
        return None
    firsts, seconds = Counter(first for first, _ in pairs), Counter(second for _, second in pairs)
    observed = sum(first == second for first, second in pairs) / len(pairs)
    expected = sum(firsts[name] * seconds[name] for name in firsts) / len(pairs) ** 2
    return None if expected == 1 else (observed - expected) / (1 - expected)
