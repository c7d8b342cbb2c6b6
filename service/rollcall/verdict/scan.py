"""From recorded looks with known truth to calibrated widths: which c keeps which promise (DESIGN section 2).

Widths follow one path, c times the policy's. The scan goes from wide to narrow and stops at the first width that breaks
the promise, since with several looks the loss is not monotone.

Shapes: N inputs, C widths tried, from wide to narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import numpy as np
from scipy.special import betaincinv

from rollcall.domain.maps import Bools, Floats, Ints
from rollcall.domain.policy import Policy
from rollcall.domain.verdicts import Flag
from rollcall.verdict.decide import MapEvidence, Ruling, decide
from rollcall.verdict.truth import Truth

WIDEST, STEP = 0.25, 0.005
CS: Final = tuple(round(step * STEP, 6) for step in range(round(WIDEST / STEP), -1, -1))
"""Every c that is tried, from wide to narrow."""
UNENDED: Final = "looks that were not run to the end leave a map without a flag"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What was known of one map after one look: the evidence, the removals behind it, and which width holds.

    While the evidence is `waiting` none does, and the index is -1.
    """

    evidence: MapEvidence
    removals: int
    width_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One input: every map's steps, run to the end, and the truth. Maps go by name.

    `prior` names the maps that were judged with a prior, and so at other looks.
    """

    steps: Mapping[str, tuple[Step, ...]]
    truths: Mapping[str, Truth]
    prior: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one map: the ruling, the removals behind it, and A - w."""

    ruling: Ruling
    removals: int
    strength: float


def outcome(steps: Sequence[Step], widths: Sequence[float], policy: Policy, *, calibrated: bool) -> Outcome:
    """Replay one map's looks with these widths, one a look: the first flag that stands is final."""
    for step in steps:
        width = widths[step.width_index]
        ruling = decide(replace(step.evidence, width=width, calibrated=calibrated), policy)
        if ruling is not None:
            strength = (step.evidence.alignment or 0.0) - width
            return Outcome(ruling=ruling, removals=step.removals, strength=strength)
    raise ValueError(UNENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """One map over all inputs at every width [N, C]: flags, whether they are wrong or far wrong, A - w, removals."""

    faithful: Bools = field(repr=False)
    unfaithful: Bools = field(repr=False)
    wrong: Bools = field(repr=False)
    far: Bools = field(repr=False)
    strength: Floats = field(repr=False)
    removals: Ints = field(repr=False)

    @property
    def ever_wrong(self) -> Bools:
        """Whether the flag is wrong at this width or at any wider one [N, C]."""
        return np.asarray(np.logical_or.accumulate(self.wrong, axis=1))

    def at(self, width: int) -> Replay:
        """At one width alone: everything is [N]."""
        return Replay(**{one.name: getattr(self, one.name)[:, width] for one in fields(self)})

    def of(self, inputs: Ints | Bools) -> Replay:
        """Only some of the inputs."""
        return Replay(**{one.name: getattr(self, one.name)[inputs] for one in fields(self)})


def replay(records: Sequence[Recorded], name: str, policy: Policy) -> Replay:
    """Replay one map on every input at every c."""
    prior = any(name in record.prior for record in records)
    path = policy.prior_path if prior else policy.path
    return _replay(records, name, policy, [[c * step for step in path] for c in CS], calibrated=True)


def replay_default(records: Sequence[Recorded], name: str, policy: Policy) -> Replay:
    """Replay one map, judged without a prior, on every input with the policy's own widths, C = 1."""
    return _replay(records, name, policy, [policy.widths], calibrated=False)


def _replay(
    records: Sequence[Recorded], name: str, policy: Policy, widths: Sequence[Sequence[float]], *, calibrated: bool
) -> Replay:
    """Replay at widths that go from wide to narrow."""
    found = [_outcomes(record.steps[name], widths, policy, calibrated=calibrated) for record in records]
    flags = [[one.ruling.flag for one in row] for row in found]
    truths = [record.truths[name] for record in records]
    wrong = [[truth.contradicts(flag, policy) for flag in row] for truth, row in zip(truths, flags, strict=True)]
    far = [[truth.far_from(flag) for flag in row] for truth, row in zip(truths, flags, strict=True)]

    def table(values: Sequence[Sequence[Any]], dtype: type[np.generic]) -> Any:  # noqa: ANN401 - an array of dtype
        return np.array(values, dtype=dtype).reshape(len(records), len(widths))

    return Replay(
        faithful=table([[flag is Flag.FAITHFUL for flag in row] for row in flags], np.bool_),
        unfaithful=table([[flag is Flag.UNFAITHFUL for flag in row] for row in flags], np.bool_),
        wrong=table(wrong, np.bool_),
        far=table(far, np.bool_),
        strength=table([[one.strength for one in row] for row in found], np.float64),
        removals=table([[one.removals for one in row] for row in found], np.int64),
    )


def _outcomes(
    steps: Sequence[Step], widths: Sequence[Sequence[float]], policy: Policy, *, calibrated: bool
) -> list[Outcome]:
    """`outcome` at widths from wide to narrow.

    A step that decides at some width decides the same at every narrower one: where both ends of a range agree, so does
    all between them.
    """
    found: list[Outcome | None] = [None] * len(widths)
    for step in steps:
        at = [each[step.width_index] for each in widths]
        rulings: dict[int, Ruling | None] = {}

        def ruled(i: int, step: Step = step, at: Sequence[float] = at) -> Ruling | None:
            return decide(replace(step.evidence, width=at[i], calibrated=calibrated), policy)

        ranges = [(0, len(widths) - 1)]
        while ranges:
            first, last = ranges.pop()
            for end in (first, last):
                rulings[end] = rulings[end] if end in rulings else ruled(end)
            if rulings[first] == rulings[last]:
                rulings |= dict.fromkeys(range(first, last + 1), rulings[first])
            elif last - first > 1:
                middle = (first + last) // 2
                ranges += [(first, middle), (middle, last)]
        for i, width in enumerate(at):
            ruling = rulings[i]
            if found[i] is None and ruling is not None:
                strength = (step.evidence.alignment or 0.0) - width
                found[i] = Outcome(ruling=ruling, removals=step.removals, strength=strength)
    if None in found:
        raise ValueError(UNENDED)
    return [one for one in found if one is not None]


def recommended(replays: Mapping[str, Replay], floors: Mapping[str, float]) -> Replay:
    """The map that would be recommended, as if it were one: the FAITHFUL one with the largest A - w.

    No map's widths go below its floor, the c that its own promise asks for; maps without a floor take no part.
    """
    taken = [name for name in replays if name in floors]
    columns = [np.minimum(np.arange(len(CS)), CS.index(floors[name])) for name in taken]
    some = [(replays[name], column) for name, column in zip(taken, columns, strict=True)]
    faithful = np.stack([found.faithful[:, column] for found, column in some])
    strength = np.stack([found.strength[:, column] for found, column in some])
    best = np.where(faithful, strength, -np.inf).argmax(axis=0)[None]

    def chosen(values: list[Any]) -> Any:  # noqa: ANN401 - an array of the type of the values
        return np.take_along_axis(np.stack(values), best, axis=0)[0]

    is_any = np.asarray(faithful.any(axis=0))
    return Replay(
        faithful=is_any,
        unfaithful=np.zeros_like(is_any),
        wrong=is_any & chosen([found.wrong[:, column] for found, column in some]),
        far=is_any & chosen([found.far[:, column] for found, column in some]),
        strength=chosen(list(strength)),
        removals=chosen([found.removals[:, column] for found, column in some]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The narrowest c that keeps a promise, None if none does, and how many of `inputs` were wrong there."""

    c: float | None
    wrong: int
    inputs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """Both promises for one map.

    In expectation (conformal risk control, Angelopoulos et al. 2022), and with confidence (an exact binomial bound at
    each step of the scan).
    """

    expected: Promise
    confident: Promise


def promises(found: Replay, *, alpha: float, confidence: float) -> Promises:
    """Scan c from wide to narrow. An input counts as wrong at c if it is wrong there or at any wider c."""
    counts = found.ever_wrong.sum(axis=0)
    n = len(found.wrong)
    k = np.arange(n + 1)
    upper = np.append(betaincinv(k[:-1] + 1, n - k[:-1], confidence), 1.0)
    return Promises(
        expected=_narrowest(counts, (k + 1) / (n + 1) <= alpha, n),
        confident=_narrowest(counts, upper <= alpha, n),
    )


def _narrowest(counts: Ints, kept: Bools, n: int) -> Promise:
    """Last c before the first whose number of wrong inputs does not keep the promise."""
    broken = np.flatnonzero(~kept[counts])
    last = int(broken[0]) - 1 if len(broken) else len(CS) - 1
    return Promise(c=CS[last] if last >= 0 else None, wrong=int(counts[max(last, 0)]), inputs=n)
