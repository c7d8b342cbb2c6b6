"""The rows that wait for one device, and the batch that is cut from them next. Pure; the clock is passed in.

Rows are scheduled, not requests. Who goes first:

1. by class: predictions, then explanations, then background work; but predictions may take only a share of the device
   while others wait;
2. among explanations fairly between callers, by the device time that each has had;
3. within a caller untouched inputs, so that every answer has its maps early; then rows of the one with the least work
   left, less what it has waited: short ones finish early, none starves.

The first ask that is chosen leads the batch; others join it in the same order where they may: rows that stand for a
verdict only beside rows of their own length, so that no company changes a number, predictions wherever the padding
costs less than a batch of their own. The batch is bounded in padded tokens, in memory, and in time, so that predictions
never wait long. Nothing waits while the device is idle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import inf, log
from typing import Any

from rollcall.domain.compute import Job, Priority
from rollcall.scheduling.latency import LatencyModel, row_work
from rollcall.scheduling.memory import RowMemory

USAGE_HALF_LIFE = 1.0
"""Seconds in which the device time that predictions have had counts half."""
FIXED_PARTS = 8.0
"""A batch is at least so many times its fixed cost long, or the device would mostly do what is not rows."""
LEAST_TOKENS = 256
"""A batch of fewer tokens is not cut short for the sake of time: on a processor it would cost a row up to twice as much
(README, Measured)."""
AGEING = 1.0
"""Seconds of remaining work that a second of waiting makes up for."""
MOST_CALLERS = 1_000
"""Whose shares are remembered; far more than are here at a time."""


class Kind(Enum):
    """What runs: kinds never share a batch, and have latencies of their own."""

    PREDICTIONS = "predictions"
    """Untouched inputs on the stock model."""
    ROWS = "rows"
    """Counterfactuals."""
    CAPTURE = "capture"
    """One untouched input with its maps; alone."""
    CALL = "call"
    """Anything else that needs the device, such as loading a model; alone."""


BATCHED = (Kind.PREDICTIONS, Kind.ROWS)
"""Kinds of which a batch may hold several."""


@dataclass(slots=True, kw_only=True, eq=False)
class Ask:
    """Rows of `length` tokens that one request wants run now.

    `sharing`: whether other rows may be in the same batch; without it the rows are cut in the same places whatever else
    is waiting.
    """

    job: Job
    kind: Kind
    model: str
    priority: Priority
    rows: int
    length: int
    queued_at: float
    sharing: bool = True
    payload: Any = field(default=None, repr=False)
    cut: int = 0
    """Rows that have been cut into batches so far."""

    @property
    def waiting(self) -> int:
        """Rows not yet in a batch."""
        return self.rows - self.cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Some consecutive rows of one ask."""

    ask: Ask
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """How many."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What runs next, at once: shares of asks of one model and kind, padded to `length` tokens."""

    kind: Kind
    model: str
    priority: Priority
    shares: tuple[Share, ...]
    length: int

    @property
    def rows(self) -> int:
        """Rows of all shares."""
        return sum(share.rows for share in self.shares)

    @property
    def padding(self) -> int:
        """Tokens that are there only to make the rows equally long."""
        return sum(share.rows * (self.length - share.ask.length) for share in self.shares)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a batch in padded tokens and in seconds, and of the share of the device that predictions may take."""

    max_tokens: int
    max_seconds: float = 0.01
    predict_share: float = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What bounds the batches of one model, for operators: bytes and padded tokens of a batch, None for no bound.

    Of its longest input: tokens, bytes of one row of each kind that was measured, and the most rows of a batch.
    """

    batch_bytes: int | None
    batch_tokens: int
    longest_tokens: int
    longest_row_bytes: Mapping[str, int]
    longest_rows: Mapping[str, int]

    @property
    def tight(self) -> bool:
        """Whether a single row of the longest input takes more than a batch may."""
        return self.batch_bytes is not None and max(self.longest_row_bytes.values(), default=0) > self.batch_bytes


@dataclass(slots=True, kw_only=True)
class RowQueue:
    """All that waits for one device.

    `gate` says whether a batch may be cut now: tests hold it to make the company of rows certain. `weights` of callers,
    1 where none is given.
    """

    limits: Limits
    weights: Mapping[str, float] = field(default_factory=dict)
    gate: Callable[[RowQueue], bool] = lambda _: True
    asks: list[Ask] = field(default_factory=list)
    widths: dict[str, int] = field(default_factory=dict)
    """Width of each model, for what its attention costs."""
    memories: dict[tuple[str, Kind], RowMemory] = field(default_factory=dict)
    """What a row takes, of each model and kind; where nothing is known tokens alone bound a batch."""
    budgets: dict[str, float] = field(default_factory=dict)
    """Bytes that one batch of a model may take. Fixed at load: the same rows are cut in the same places ever after."""
    latencies: dict[tuple[str, Kind], LatencyModel] = field(default_factory=dict)
    _virtual: dict[str, float] = field(default_factory=dict)
    """Device seconds per weight that each caller has had, from a common start."""
    _usage: dict[bool, float] = field(default_factory=lambda: {True: 0.0, False: 0.0})
    """Recent device seconds of predictions (True) and of everything else."""
    _used_at: float = 0.0

    def put(self, ask: Ask) -> None:
        """Let an ask wait."""
        caller = ask.job.caller
        if not any(other.job.caller == caller for other in self.asks):
            # Who was away starts level with whoever has had the least: an absence is no credit.
            present = [self._virtual.get(other.job.caller, 0.0) for other in self.asks]
            self._virtual[caller] = max([self._virtual.get(caller, 0.0), *([min(present)] if present else [])])
            if len(self._virtual) > MOST_CALLERS:
                self._forget_the_least({caller, *(other.job.caller for other in self.asks)})
        self.asks.append(ask)

    def _forget_the_least(self, present: set[str]) -> None:
        """Forget the half of the callers who are away that have had the least: they would start level anyway."""
        away = sorted(self._virtual.keys() - present, key=self._virtual.__getitem__)
        for caller in away[: (len(away) + 1) // 2]:
            del self._virtual[caller]

    def drop(self, ask: Ask) -> int:
        """Forget the rows of an ask that are not in a batch yet; returns how many."""
        if ask not in self.asks:
            return 0
        self.asks.remove(ask)
        return ask.waiting

    def drop_expired(self, now: float) -> list[Ask]:
        """Take out the asks whose request is past its deadline."""
        expired = [ask for ask in self.asks if ask.job.deadline is not None and ask.job.deadline <= now]
        for ask in expired:
            self.asks.remove(ask)
        return expired

    def cut(self, now: float) -> Batch | None:
        """Take out the batch that runs next; None while there is nothing to run."""
        if not self.asks or not self.gate(self):
            return None
        ordered = self._ordered(now)
        leader = ordered[0]
        if not leader.sharing:
            return self._take({leader: min(leader.waiting, self.most_rows(leader.model, leader.kind, leader.length))})
        length, rows = leader.length, 0
        taken: dict[Ask, int] = {}
        for ask in (ask for ask in ordered if self._may_join(ask, leader)):
            longer = max(length, ask.length)
            room = self._room(leader.model, leader.kind, longer) - rows
            count = min(ask.waiting, room)
            if count < 1 or (ask is not leader and not self._worth_it(leader, rows, length, ask, count)):
                continue
            taken[ask] = count
            rows, length = rows + count, longer
        return self._take(taken)

    def ran(self, batch: Batch, seconds: float, now: float) -> None:
        """Account for a batch: fairness between callers, the share of predictions, and the latency model."""
        self._fade(now)
        self._usage[batch.priority is Priority.PREDICT] += seconds
        tokens = max(1, sum(share.rows * share.ask.length for share in batch.shares))
        for share in batch.shares:
            caller = share.ask.job.caller
            part = seconds * share.rows * share.ask.length / tokens
            self._virtual[caller] = self._virtual.get(caller, 0.0) + part / self.weights.get(caller, 1.0)
        if batch.kind is not Kind.CALL:
            self.latency(batch.model, batch.kind).observe(self.work(batch.model, batch.rows, batch.length), seconds)

    def forget(self, model: str) -> None:
        """Forget what was learnt of a model that is gone."""
        self.widths.pop(model, None)
        self.budgets.pop(model, None)
        for learnt in (self.memories, self.latencies):
            for known in [known for known in learnt if known[0] == model]:
                del learnt[known]

    def latency(self, model: str, kind: Kind = Kind.ROWS) -> LatencyModel:
        """How long batches of this model and kind take."""
        return self.latencies.setdefault((model, kind), LatencyModel())

    def work(self, model: str, rows: int, length: int) -> float:
        """What so many rows of a model cost."""
        return row_work(rows, length, self.widths.get(model))

    def expected(
        self, model: str, rows: int, length: int, kind: Kind = Kind.ROWS, *, now: float | None = None
    ) -> float:
        """Seconds that so many rows will take once they run, in batches as they would be cut; 0 if nothing is known.

        What predictions have lately taken of the device is taken into account: it is not there for others.
        """
        if rows < 1 or length < 1:
            return 0.0
        if now is not None:  # what was used long ago says nothing
            self._fade(now)
        batches = -(-rows // self._room(model, kind, length))
        seconds = self.latency(model, kind).estimate(self.work(model, rows, length), batches)
        return seconds if kind is Kind.PREDICTIONS else seconds / (1 - self._predictions_share())

    def most_rows(self, model: str, kind: Kind, length: int) -> int:
        """Most rows of a batch of this length, by tokens and by memory: at least 1."""
        by_tokens = max(1, self.limits.max_tokens // max(1, length))
        memory, budget = self.memories.get((model, kind)), self.budgets.get(model, inf)
        return by_tokens if memory is None or budget == inf else min(by_tokens, memory.rows_within(budget, length))

    def bounds(self, model: str, length: int) -> Bounds:
        """What bounds the batches of a model whose longest input has `length` tokens."""
        kinds = [kind for kind in Kind if (model, kind) in self.memories]
        budget = self.budgets.get(model, inf)
        return Bounds(
            batch_bytes=None if budget == inf else int(budget),
            batch_tokens=self.limits.max_tokens,
            longest_tokens=length,
            longest_row_bytes={kind.value: int(self.memories[model, kind].bytes(length)) for kind in kinds},
            longest_rows={kind.value: self.most_rows(model, kind, length) for kind in kinds if kind in BATCHED},
        )

    @property
    def rows(self) -> int:
        """Rows waiting."""
        return sum(ask.waiting for ask in self.asks)

    @property
    def tokens(self) -> int:
        """Tokens waiting."""
        return sum(ask.waiting * ask.length for ask in self.asks)

    def oldest(self, now: float) -> float:
        """Seconds that the longest waiting ask has waited."""
        return max((now - ask.queued_at for ask in self.asks), default=0.0)

    # --- order -------------------------------------------------------------------------------------------------------

    def _ordered(self, now: float) -> list[Ask]:
        """All asks, the one to run first in front."""
        self._fade(now)
        total = sum(self._usage.values())
        greedy = total > 0 and self._usage[True] > self.limits.predict_share * total
        return sorted(self.asks, key=lambda ask: self._rank(ask, now, greedy=greedy))

    def _rank(self, ask: Ask, now: float, *, greedy: bool) -> tuple[float, float, bool, float]:
        group = {Priority.PREDICT: 1.5 if greedy else 0.0, Priority.BACKGROUND: 2.0}.get(ask.priority, 1.0)
        if ask.priority is Priority.PREDICT:
            return group, 0.0, False, ask.queued_at
        left = self.latency(ask.model).per_work * self.work(ask.model, ask.job.rows_left, ask.length)
        checks = ask.priority is not Priority.BASE
        return group, self._virtual.get(ask.job.caller, 0.0), checks, left - AGEING * (now - ask.job.arrived)

    def _predictions_share(self) -> float:
        """The share of time that the device has lately spent on predictions, at most the one that they may have."""
        return min(self._usage[True] * log(2) / USAGE_HALF_LIFE, self.limits.predict_share, 0.9)

    def _fade(self, now: float) -> None:
        fading = 0.5 ** (max(0.0, now - self._used_at) / USAGE_HALF_LIFE)
        self._usage = {predicts: used * fading for predicts, used in self._usage.items()}
        self._used_at = max(now, self._used_at)

    # --- company -----------------------------------------------------------------------------------------------------

    def _may_join(self, ask: Ask, leader: Ask) -> bool:
        """Whether two asks can be in one batch at all; only predictions may be padded."""
        if ask is leader:
            return True
        background = (ask.priority is Priority.BACKGROUND, leader.priority is Priority.BACKGROUND)
        alike = ask.sharing and (ask.model, ask.kind) == (leader.model, leader.kind) and len(set(background)) == 1
        return alike and (ask.kind is Kind.PREDICTIONS or ask.length == leader.length)

    def _room(self, model: str, kind: Kind, length: int) -> int:
        """Most rows of a batch of this length: also by time, once it is known how long batches take."""
        most = self.most_rows(model, kind, length)
        latency = self.latency(model, kind)
        seconds = max(self.limits.max_seconds, FIXED_PARTS * latency.fixed)
        within = latency.work_within(seconds) / self.work(model, 1, length)
        return max(1, min(most, max(int(min(most, within)), LEAST_TOKENS // length)))

    def _worth_it(self, leader: Ask, rows: int, length: int, ask: Ask, count: int) -> bool:
        """Whether the padding that a join causes costs less than the fixed part of the batch that it saves."""
        longer = max(length, ask.length)
        joined = self.work(leader.model, rows + count, longer)
        apart = self.work(leader.model, rows, length) + self.work(leader.model, count, ask.length)
        latency = self.latency(leader.model, leader.kind)
        return joined == apart or latency.per_work * (joined - apart) <= latency.fixed

    def _take(self, counts: Mapping[Ask, int]) -> Batch:
        """Take so many rows of each ask, the leader first."""
        shares = []
        for ask, count in counts.items():
            shares.append(Share(ask=ask, start=ask.cut, stop=ask.cut + count))
            ask.cut += count
            if not ask.waiting:
                self.asks.remove(ask)
        leader = shares[0].ask
        return Batch(
            kind=leader.kind,
            model=leader.model,
            priority=leader.priority,
            shares=tuple(shares),
            length=max(ask.length for ask in counts),
        )
