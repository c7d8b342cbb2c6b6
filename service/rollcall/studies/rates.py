"""How often flags stood and were wrong, with exact intervals: what calibrations and studies count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rollcall.domain import binomial
from rollcall.domain.policy import Policy
from rollcall.domain.verdicts import Flag, Reason
from rollcall.verdict.decide import Ruling
from rollcall.verdict.truth import Truth

DECIDED = (Flag.FAITHFUL, Flag.UNFAITHFUL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """So many of so many, with its exact 95 % interval."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share; 0 of none."""
        return self.count / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The exact interval."""
        return binomial.interval(self.count, self.total)

    def to_json(self) -> dict[str, Any]:
        """Count, total, share and interval."""
        return {"count": self.count, "total": self.total, "share": self.value, "interval_95": list(self.interval)}

    def __str__(self) -> str:
        """In words, e.g. "3 of 164 (1.8 %, 0.4 to 5.3)"."""
        low, high = self.interval
        return f"{self.count} of {self.total} ({100 * self.value:.1f} %, {100 * low:.1f} to {100 * high:.1f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Flags of one map, or of several, over many inputs. `decided` is of the maps that are not flat."""

    faithful: Share
    unfaithful: Share
    wrong: Share
    wrong_faithful: Share
    wrong_unfaithful: Share
    far_wrong: Share
    decided: Share
    reasons: dict[Reason, int]
    truly_right: Share

    def to_json(self) -> dict[str, Any]:
        """All shares by name, and the reasons."""
        shares = {
            name: getattr(self, name).to_json()
            for name in (
                "faithful",
                "unfaithful",
                "wrong",
                "wrong_faithful",
                "wrong_unfaithful",
                "far_wrong",
                "decided",
                "truly_right",
            )
        }
        return shares | {"reasons": {reason.value: count for reason, count in self.reasons.items()}}


def tally(cases: Iterable[tuple[Ruling, Truth]], policy: Policy) -> Tally:
    """Count rulings against the truth. Shares of wrong flags are of all answers (`wrong`), or of the flags so named."""
    pairs = list(cases)
    total = len(pairs)
    by_flag = {flag: [truth for ruling, truth in pairs if ruling.flag is flag] for flag in DECIDED}
    wrong = {flag: sum(truth.contradicts(flag, policy) for truth in truths) for flag, truths in by_flag.items()}
    far = sum(truth.far_from(flag) for flag, truths in by_flag.items() for truth in truths)
    flat = sum(ruling.reason is Reason.FLAT_MAP for ruling, _ in pairs)
    flags = {flag: len(truths) for flag, truths in by_flag.items()}
    return Tally(
        faithful=Share(count=flags[Flag.FAITHFUL], total=total),
        unfaithful=Share(count=flags[Flag.UNFAITHFUL], total=total),
        wrong=Share(count=sum(wrong.values()), total=total),
        wrong_faithful=Share(count=wrong[Flag.FAITHFUL], total=flags[Flag.FAITHFUL]),
        wrong_unfaithful=Share(count=wrong[Flag.UNFAITHFUL], total=flags[Flag.UNFAITHFUL]),
        far_wrong=Share(count=far, total=total),
        decided=Share(count=sum(flags.values()), total=total - flat),
        reasons=dict(Counter(r.reason for r, _ in pairs if r.reason is not Reason.NONE).most_common()),
        truly_right=Share(count=sum(truth.right(policy) for _, truth in pairs), total=total),
    )
