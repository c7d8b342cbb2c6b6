"""Do the map's top units carry the decision through attention more than random units do?

Everybody else's edges to the top units are cut in all layers and heads (attention knock-out, Geva et al. 2023), before
the softmax or after it: renormalising hands their share to others and may repair or exaggerate, so both are shown. The
drop is held against that of random sets of as many units, and of random sets that hold at least as much attention: what
breaks a model may be how much is cut, not what.

Each random set costs a row, so that they are drawn one after another and a bet is made on each: the wealth is a
martingale if the top is no better than a random set, and may be looked at any time (Fischer and Ramdas 2024,
"Sequential Monte Carlo testing by betting", binomial mixture strategy, section 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtrc

from rollcall.checks.base import Asking, Subject
from rollcall.domain.maps import Floats
from rollcall.domain.policy import ThoroughPolicy
from rollcall.domain.rows import AttentionEdit, Row
from rollcall.domain.seeds import random_permutations
from rollcall.domain.verdicts import CheckKind, CheckOutcome, CheckResult

MODES = {"renormalised": AttentionEdit.KNOCKED_OUT, "not_renormalised": AttentionEdit.CUT}
SIZE, MASS = MATCHES = ("size", "mass")
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One test: how edges are cut, and in what random sets resemble the top."""

    mode: str
    match: str

    @property
    def statistic(self) -> str:
        """Its name among the results."""
        return f"drop_{self.mode}_against_equal_{self.match}"


TRIALS = tuple(Trial(mode=mode, match=match) for mode in MODES for match in MATCHES)


def wealth(losses: int, draws: int, c: float) -> float:
    """Wealth after `draws` random sets of which `losses` did at least as well, 1 at the start.

    Each bet's odds are mixed uniformly over probabilities of a loss up to `c`: (1 - F(losses; draws + 1, c)) / c with F
    the binomial distribution function.
    """
    return float(bdtrc(losses, draws + 1, c)) / c


def random_set(order: Floats, size: int, attention: Floats, top_mass: float, match: str) -> tuple[int, ...]:
    """The first units of a random `order` [n]: `size` of them, or enough to hold `top_mass` of `attention` [n]."""
    units = [int(unit) for unit in order]
    if match == SIZE:
        return tuple(sorted(units[:size]))
    held = np.cumsum(attention[units])
    enough = int(np.searchsorted(held, top_mass * (1 - ROUNDING))) + 1
    return tuple(sorted(units[: min(enough, len(units))]))


def knock_out(
    subject: Subject, top: tuple[int, ...], attention: Floats, policy: ThoroughPolicy, trial: Trial
) -> Asking[CheckResult]:
    """Ask for the top's knock-out and for random sets until the wealth or the losses decide, or draws run out.

    `attention` [n] is what the read-out gives to each unit in the last layer. What ties with the top counts as a loss,
    and so does what is no number.
    """
    n, edit = subject.n, MODES[trial.mode]
    if math.comb(n, len(top)) * policy.alpha < 1:
        detail = f"{n} units have too few sets of {len(top)} for any test at this level."
        return _result(subject, trial, CheckOutcome.SKIPPED, detail)
    carried = subject.decision.carried_by(subject.base.logits)
    mass = float(attention[list(top)].sum())
    orders = random_permutations(subject.seed, f"knock-out/{trial.match}", (policy.knock_out_draws, n))
    rows = [Row(edit=edit, units=subject.selection(top))]
    asked, drawn, losses, best, observed = 0, 0, 0, 1.0, math.nan
    while True:
        step = orders[drawn : drawn + policy.knock_out_step]
        sets = [random_set(order, len(top), attention, mass, trial.match) for order in step]
        rows = [*rows, *(Row(edit=edit, units=subject.selection(units)) for units in sets)]
        results = yield rows
        asked += len(rows)
        drops = carried * (subject.margin - subject.margins(results))
        if not drawn:
            observed, drops = float(drops[0]), drops[1:]
        rows = []
        for drop in drops.tolist():
            drawn += 1
            losses += not drop < observed - subject.margin_noise - ROUNDING
            best = max(best, wealth(losses, drawn, policy.betting_share * policy.alpha))
            if best >= 1 / policy.alpha or losses >= policy.knock_out_losses:
                break
        if best >= 1 / policy.alpha or losses >= policy.knock_out_losses or drawn >= policy.knock_out_draws:
            break
    rejected = best >= 1 / policy.alpha
    detail = (
        f"Without the edges to its top {len(top)} unit(s) the decision loses {observed:+.2f} log-odds; "
        f"{losses} of {drawn} random sets of equal {trial.match} lose as much."
    )
    outcome = CheckOutcome.SUPPORTS if rejected else CheckOutcome.INCONCLUSIVE
    return _result(subject, trial, outcome, detail, value=observed, p_value=1 / best, rows=asked)


def _result(
    subject: Subject,
    trial: Trial,
    outcome: CheckOutcome,
    detail: str,
    *,
    value: float | None = None,
    p_value: float | None = None,
    rows: int = 0,
) -> CheckResult:
    return CheckResult(
        kind=CheckKind.KNOCK_OUT,
        outcome=outcome,
        statistic=trial.statistic,
        value=value,
        p_value=p_value,
        rows=rows,
        seed=subject.seed,
        detail=detail,
    )
