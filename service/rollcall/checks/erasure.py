"""How far does the prediction fall without the map's top words, and how far with only them?

Comprehensiveness and sufficiency (DeYoung et al. 2020, ERASER, section 5), as areas over the perturbation curve of the
target's probability. Words are taken out of the text, as both references do, so that numbers can be compared with
theirs up to words against tokens; patches of an image are blurred. The plain areas depend on the model as much as on
the map: the normalised ones put them between the least and the greatest that an order of these words reaches on this
input (Edin et al. 2025, NAOPC). Numbers for people: none of them says whether a map is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np

from rollcall.checks.base import Asking, Subject
from rollcall.domain.maps import Bools, Floats
from rollcall.domain.policy import ThoroughPolicy
from rollcall.domain.rows import Row
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult

COMPREHENSIVENESS, SUFFICIENCY = "comprehensiveness", "sufficiency"
ROUNDING = 1e-6
"""Areas that lie closer together are equal: probabilities come from float32."""
_MEANING = {
    COMPREHENSIVENESS: "Mean fall of the target's probability as the map's top words are taken out",
    SUFFICIENCY: "Mean fall of the target's probability with the map's top words alone",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Falls of the target's probability [n + 1] along an order of the units: 0 to n of its first ones taken out.

    `kept`: the same with only its first 0 to n units kept.
    """

    removed: Floats = field(repr=False)
    kept: Floats = field(repr=False)

    @property
    def areas(self) -> dict[str, float]:
        """Means over 1 to n units, as ferret has them (Attanasio et al. 2023)."""
        return {COMPREHENSIVENESS: float(self.removed[1:].mean()), SUFFICIENCY: float(self.kept[1:].mean())}

    def eraser(self, shares: Sequence[float]) -> dict[str, float]:
        """Means over shares of the units, each rounded up, as ERASER has them."""
        sizes = [ceil(share * (len(self.removed) - 1)) for share in shares]
        return {
            COMPREHENSIVENESS: float(self.removed[sizes].mean()),
            SUFFICIENCY: float(self.kept[sizes].mean()),
        }


def first_units(order: Sequence[int], n: int) -> Bools:
    """Sets [n + 1, n] of the first 0 to n units of an order."""
    rank = np.empty(n, dtype=np.int64)
    rank[list(order)] = np.arange(n)
    return np.asarray(rank[None, :] < np.arange(n + 1)[:, None])


def curve(subject: Subject, order: Sequence[int]) -> Asking[Curve]:
    """Ask for the texts without the first 1 to n units of an order, and for those with only its first 1 to n - 1."""
    n = subject.n
    first = first_units(order, n)
    beside = subject.encoding.removals.beside
    rows = [Row(removed=units, operator=beside) for units in (*first[1:], *~first[1:-1])]
    results = yield rows
    falls = subject.probabilities([subject.base]) - subject.probabilities(results)
    everything = falls[n - 1 : n]
    return Curve(
        removed=np.concatenate(([0.0], falls[:n])),
        kept=np.concatenate((everything, falls[n:], [0.0])),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Least and greatest area of comprehensiveness that orders of these words reach, and the fall without any word.

    The sets that one order keeps are those that another takes out, but for the empty and the whole one: so the limits
    of sufficiency lie lower by a share of the whole fall. `orders`: how many were tried, None for all there are.
    """

    least: float
    most: float
    everything: float
    n: int
    orders: int | None

    @classmethod
    def of(cls, curves: Sequence[Curve]) -> Limits:
        """From curves of some orders, each of which is also that of its reverse."""
        n, everything = len(curves[0].removed) - 1, float(curves[0].removed[-1])
        known = [each.areas[COMPREHENSIVENESS] for each in curves]
        known += [each.areas[SUFFICIENCY] + everything / n for each in curves]
        return cls(least=min(known), most=max(known), everything=everything, n=n, orders=len(known))

    @classmethod
    def exact(cls, falls: Mapping[bytes, float], n: int) -> Limits:
        """From the falls of all non-empty subsets, by the bytes of their masks [n].

        An order is a chain of growing sets, its area the mean along it: the best chain into a set goes through the best
        into one of its subsets that lack one unit (Bellman 1962).
        """
        least, most = np.zeros(2**n), np.zeros(2**n)
        for number in range(1, 2**n):
            inside = [(number >> i) & 1 for i in range(n)]
            before = [number & ~(1 << i) for i in range(n) if inside[i]]
            own = falls[np.array(inside, dtype=np.bool_).tobytes()]
            least[number], most[number] = own + least[before].min(), own + most[before].max()
        everything = falls[np.ones(n, dtype=np.bool_).tobytes()]
        return cls(least=float(least[-1] / n), most=float(most[-1] / n), everything=everything, n=n, orders=None)

    def between(self, name: str) -> tuple[float, float]:
        """Least and greatest area of comprehensiveness or sufficiency."""
        shift = self.everything / self.n if name == SUFFICIENCY else 0.0
        return self.least - shift, self.most - shift


def judge_erasure(
    subject: Subject, own: Curve, limits: Limits | None, policy: ThoroughPolicy
) -> tuple[CheckResult, ...]:
    """Areas of one map's curve by both presets, and, where limits are known, normalised between them."""
    areas, eraser = own.areas, own.eraser(policy.eraser_shares)
    rows = 2 * subject.n - 1
    results = []
    for name, meaning in _MEANING.items():
        results += [
            _result(subject, f"{name}_aopc_eraser", eraser[name], f"{meaning}; ERASER's shares of the words.", rows),
            _result(subject, f"{name}_aopc_ferret", areas[name], f"{meaning}; every number of words, as ferret.", rows),
        ]
        if limits is not None:
            results.append(_normalised(subject, name, areas[name], limits))
    return tuple(results)


def _normalised(subject: Subject, name: str, area: float, limits: Limits) -> CheckResult:
    least, most = limits.between(name)
    statistic, span = f"normalised_{name}_aopc", most - least
    if not span > ROUNDING:
        detail = "Every order that was tried has the same area: there is nothing to normalise by."
        return _result(subject, statistic, None, detail, 0, CheckOutcome.SKIPPED)
    tried = "all orders" if limits.orders is None else f"{limits.orders} orders"
    detail = f"Between the least ({least:+.3f}) and the greatest ({most:+.3f}) area of {tried} of these words."
    return _result(subject, statistic, (area - least) / span, detail, 0)


def _result(
    subject: Subject,
    statistic: str,
    value: float | None,
    detail: str,
    rows: int,
    outcome: CheckOutcome = CheckOutcome.MEASURED,
) -> CheckResult:
    return CheckResult(
        kind=CheckKind.ERASURE,
        outcome=outcome,
        statistic=statistic,
        value=value,
        rows=rows,
        seed=subject.seed,
        detail=detail,
    )
