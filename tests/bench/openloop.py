"""Open-loop load as values: a timetable before, and what came of it after. No clock, no network.

Open loop means that requests are due at Poisson times, whether or not earlier ones were answered, as those of many
independent users are. A latency runs from the moment at which a request was due, not from when it left: a stall of the
server, or of the generator, cannot hide the requests that it held up (coordinated omission). Seconds everywhere,
counted from the start of the timetable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from rollcall.demo.templates import templated_examples

MIXES = {"predict": 0.0, "explain": 1.0, "mixed": 0.2}
"""Share of the requests that ask for an explanation."""
TEXTS = 600
MOST_SENTENCES = 4
"""Sentences that one text joins, so that lengths vary: 1 to 4, some 2 to 60 words."""
EXPECTED = frozenset({"OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"})
"""Codes that a loaded server may send to requests that are right."""
WITHOUT_HINT = "UNAVAILABLE without RetryInfo"
AT_ONCE_SHARE = 0.9
"""A DEADLINE_EXCEEDED that came before this share of the deadline had passed was a refusal of the server."""
ALIGNMENT_TOLERANCE = 1e-4
"""Rows in other company may differ in the last bits of float32; widths, which decide, are about 0.1."""


class Kind(Enum):
    """What is asked for."""

    PREDICT = "predict"
    EXPLAIN = "explain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A request on the timetable."""

    at: float
    kind: Kind
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The part of a run that counts. What comes before it is warm-up."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start

    def holds(self, at: float) -> bool:
        """Whether a moment is inside."""
        return self.start <= at < self.end


def arrival_times(rate: float, seconds: float, seed: int) -> NDArray[np.float64]:
    """Draw a Poisson process: a Poisson number of moments, each anywhere with equal chance, in order."""
    random = np.random.default_rng(seed)
    return np.sort(random.uniform(0.0, seconds, random.poisson(rate * seconds)))


def timetable(*, share: float, rate: float, seconds: float, texts: Sequence[str], seed: int) -> list[Due]:
    """Plan requests of which `share` want explanations. No text comes twice before all others have come."""
    times = arrival_times(rate, seconds, seed)
    random = np.random.default_rng([seed, 1])
    explains = random.random(len(times)) < share
    order = random.permutation(len(texts))
    return [
        Due(
            at=float(at),
            kind=Kind.EXPLAIN if explain else Kind.PREDICT,
            text=texts[order[number % len(texts)]],
        )
        for number, (at, explain) in enumerate(zip(times, explains, strict=True))
    ]


def make_texts(count: int = TEXTS, seed: int = 1) -> list[str]:
    """Make distinct texts of varying length; one seed always gives the same."""
    random = np.random.default_rng(seed)
    sentences = [example.text for example in templated_examples(count=count, seed=seed)]
    made: dict[str, None] = {}
    while len(made) < count:
        joined = random.choice(len(sentences), size=random.integers(1, MOST_SENTENCES + 1), replace=False)
        made[" ".join(sentences[number] for number in joined)] = None
    return list(made)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an explanation came to, as far as the same text must always come to the same."""

    flag: str
    reason: str
    alignment: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request got. `cut`: an explanation whose looks were cut. `retry_after` is the server's advice, if any."""

    due: Due
    sent: float
    done: float
    deadline: float
    code: str
    cut: bool = False
    retry_after: float | None = None
    verdict: Verdict | None = None

    @property
    def good(self) -> bool:
        """Whether somebody was served: it succeeded, and no look was cut."""
        return self.code == "OK" and not self.cut

    @property
    def refused(self) -> bool:
        """Whether the server said no, rather than letting the deadline pass."""
        early = self.latency < AT_ONCE_SHARE * self.deadline
        return self.code == "UNAVAILABLE" or (self.code == "DEADLINE_EXCEEDED" and early)

    @property
    def latency(self) -> float:
        """From due to done."""
        return self.done - self.due.at


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One kind of request at one load.

    Goodput counts what was done in the window, all else is about what was due in it: requests that are still waiting
    when the window ends are no goodput, but their latencies count. Latencies are of good answers.
    """

    kind: str
    offered_per_second: float
    good_per_second: float
    p50_seconds: float | None
    p99_seconds: float | None
    codes: dict[str, int]
    cut: int
    refused: int
    refused_p99_seconds: float | None
    unavailable_with_retry_info: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """How well the generator kept its own timetable, and how many requests it had open at once."""

    late_p99_seconds: float
    late_max_seconds: float
    most_open: int


def summarise(answers: Iterable[Answer], kind: Kind, window: Window) -> Part:
    """Count what came of one kind of request."""
    ours = [answer for answer in answers if answer.due.kind is kind]
    due = [answer for answer in ours if window.holds(answer.due.at)]
    refused = [answer for answer in due if answer.refused]
    latencies = [answer.latency for answer in due if answer.good]
    return Part(
        kind=kind.value,
        offered_per_second=len(due) / window.seconds,
        good_per_second=sum(answer.good and window.holds(answer.done) for answer in ours) / window.seconds,
        p50_seconds=quantile(latencies, 0.5),
        p99_seconds=quantile(latencies, 0.99),
        codes=dict(sorted(Counter(answer.code for answer in due).items())),
        cut=sum(answer.cut for answer in due),
        refused=len(refused),
        refused_p99_seconds=quantile([answer.latency for answer in refused], 0.99),
        unavailable_with_retry_info=sum(
            answer.code == "UNAVAILABLE" and answer.retry_after is not None for answer in due
        ),
    )


def punctuality(answers: Sequence[Answer]) -> Generator:
    """Say how late requests left and how many were open at once."""
    late = [answer.sent - answer.due.at for answer in answers]
    steps = sorted([(answer.sent, 1) for answer in answers] + [(answer.done, -1) for answer in answers])
    return Generator(
        late_p99_seconds=quantile(late, 0.99) or 0.0,
        late_max_seconds=max(late, default=0.0),
        most_open=int(np.max(np.cumsum([step for _, step in steps]), initial=0)),
    )


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return a quantile; None, not 0, where there is nothing."""
    return float(np.quantile(values, share)) if values else None


def unexpected(answers: Iterable[Answer]) -> Counter[str]:
    """Count what may not happen under load: other codes, and an UNAVAILABLE that does not say when to come back."""
    answers = list(answers)
    wrong = Counter(answer.code for answer in answers if answer.code not in EXPECTED)
    wrong[WITHOUT_HINT] = sum(answer.code == "UNAVAILABLE" and answer.retry_after is None for answer in answers)
    return +wrong


@dataclass(slots=True, kw_only=True)
class Verdicts:
    """Every verdict that each text got, at whatever load. Explanations that were cut are not told here."""

    by_text: dict[str, set[Verdict]] = field(default_factory=dict)
    explanations: int = 0

    def see(self, text: str, verdict: Verdict) -> None:
        """Remember one."""
        self.explanations += 1
        self.by_text.setdefault(text, set()).add(verdict)

    def contradictory(self) -> int:
        """Count texts that got another flag, reason or alignment at another time."""
        return sum(not _same(seen) for seen in self.by_text.values())

    def spread(self) -> float:
        """Return the largest difference between two alignments of one text: 0 where all are equal to the last bit."""
        known = (
            [verdict.alignment for verdict in seen if verdict.alignment is not None] for seen in self.by_text.values()
        )
        return max((max(values) - min(values) for values in known if values), default=0.0)


def _same(seen: set[Verdict]) -> bool:
    if len({(verdict.flag, verdict.reason, verdict.alignment is None) for verdict in seen}) > 1:
        return False
    values = [verdict.alignment for verdict in seen if verdict.alignment is not None]
    return not values or max(values) - min(values) <= ALIGNMENT_TOLERANCE
