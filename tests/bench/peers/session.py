"""What all comparisons are given: the model, our side of it, where peers live, and how much to measure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.peers.environments import Environment, build
from tests.bench.peers.measure import Case, Finding, Work, measure
from tests.bench.peers.ours import Ours
from tests.bench.peers.process import PeerProcess


class OutOfTime(Exception):
    """A peer has had the time that it may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The comparison with one peer, called `name`, in one run of the benchmark."""

    name: str
    ours: Ours
    work: Path
    lengths: tuple[int, ...]
    texts: int
    repeats: int
    seconds: float
    """Of timing one piece of work."""
    until: float
    """No work is begun after this reading of the clock."""
    log: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    versions: dict[str, str] = field(default_factory=dict)
    """Of the peer, once it runs."""

    def cases(self, tokens: int, at_most: int | None = None) -> list[Case]:
        """The texts of one length, or the first of them."""
        return self.ours.cases(tokens, min(self.texts, at_most or self.texts))

    @contextmanager
    def peer(self, comparison: Comparison) -> Iterator[PeerProcess]:
        """Build a peer's environment, run its script and note its versions. Raises NotBuilt and PeerFailed."""
        name = comparison.environment.name
        self.log(f"{name}: building or finding its environment ...")
        python = build(comparison.environment, self.work)
        with PeerProcess(python, f"{name}_peer", self.work) as peer:
            self.versions.update(peer.ask("versions", packages=list(comparison.packages))["versions"])
            yield peer

    def measure(self, work: Work, cases: list[Case]) -> Finding:
        """Compare and time one piece of work, and tell how it went. Raises OutOfTime."""
        if self.clock() > self.until:
            message = f"no time was left for {work.name}, {work.tokens} tokens, and what comes after it"
            raise OutOfTime(message)
        self.log(f"{work.peer}: {work.name}, {work.tokens} tokens ...")
        finding = measure(work, cases, comparison=self.name, repeats=self.repeats, seconds=self.seconds)
        if not finding.agrees:
            self.log(f"{work.peer}: MISMATCH in {work.name}, {work.tokens} tokens: {finding.difference}")
        for timed in filter(None, (finding.ours, finding.default, finding.tuned)):
            self.log(f"  {timed.side}: {timed.cpu_ms.middle:.0f} ms, {timed.cpu_ratio.middle:.2f} of ours")
        return finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One peer: its environment, the packages whose versions count, and what is measured with it."""

    environment: Environment
    packages: tuple[str, ...]
    run: Callable[[Session], Iterator[Finding]]
