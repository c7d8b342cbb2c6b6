"""shap: its partition explainer, and the very rows that it runs, run by us."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rollcall.domain.maps import Floats
from rollcall.domain.rows import Row
from tests.bench.peers.environments import Environment
from tests.bench.peers.measure import Answer, Case, Finding, Per, Side, Work, gap, stopped
from tests.bench.peers.ours import Ours
from tests.bench.peers.process import PeerProcess
from tests.bench.peers.session import Comparison, Session

BATCHES = (64, 256)
"""Values of batch_size for a function that takes a batch; smaller ones cut most batches down to a few rows."""
TOLERANCE = 1e-4
TEXTS, REPEATS = 1, 3
"""An explanation is 500 rows: fewer of them are measured than of other work."""


def run(session: Session) -> Iterator[Finding]:
    """Measure at every length."""
    with session.peer(COMPARISON) as peer:
        peer.ask("load", directory=str(session.ours.directory))
        for tokens in session.lengths:
            cases = session.cases(tokens, at_most=TEXTS)
            for case in cases:
                peer.ask("explain", text=case.text, batch=BATCHES[0])  # compiles what it compiles at first use
            yield session.measure(_work(session, peer, tokens), cases)


def _work(session: Session, peer: PeerProcess, tokens: int) -> Work:
    replay = Replay(ours=session.ours, peer=peer)
    return Work(
        name="partition explainer",
        peer="shap",
        tokens=tokens,
        ours=Side(name="rows", run=lambda case: stopped(lambda: replay.run(case))),
        default=_side(peer, None),
        candidates=tuple(_side(peer, batch) for batch in BATCHES),
        tolerance=TOLERANCE,
        note=(
            "shap.Explainer on a transformers pipeline with all defaults (500 evaluations, each a forward of its own), "
            "and tuned: a function that takes a batch, and batch_size. Every row that shap ran is run by us too, its "
            "masked positions removed, and the logits are compared. Our time is that of these rows alone: shap also "
            "decides which rows to run and makes texts of them. Ratios are of time per row."
        ),
        per=Per.ROW,
        disagreement=replay.disagreement,
        repeats_at_most=REPEATS,
        trials=1,
    )


@dataclass(slots=True, kw_only=True)
class Replay:
    """The rows that shap ran by default for each text, as rows of ours."""

    ours: Ours
    peer: PeerProcess
    rows: dict[str, list[Row]] = field(default_factory=dict)

    def disagreement(self, case: Case) -> float:
        """Record what shap runs, with each setting, and compare its logits with ours of the same rows."""
        largest = 0.0
        for batch in (*BATCHES, None):
            recorded = self.peer.ask("recorded", text=case.text, batch=batch)
            self.rows[case.text] = self._as_rows(case, recorded)
            largest = max(largest, gap(np.array(recorded["logits"]), self.run(case)[0]))
        return largest  # the defaults came last: theirs are the rows that are timed

    def run(self, case: Case) -> tuple[Floats, int]:
        """Run the rows."""
        rows = self.rows[case.text]
        return self.ours.rows(case.encoding, rows), len(rows)

    def _as_rows(self, case: Case, recorded: dict[str, Any]) -> list[Row]:
        ids, own = np.array(recorded["ids"]), np.array(case.ids)
        assert ids.shape[1:] == own.shape
        return [Row(removed=removed) if removed.any() else Row() for removed in (ids != own)[:, 1:-1]]


def _side(peer: PeerProcess, batch: int | None) -> Side:
    return Side(
        name="defaults" if batch is None else f"batch_size={batch}",
        run=lambda case: Answer.of(peer.ask("explain", text=case.text, batch=batch)),
    )


COMPARISON = Comparison(environment=Environment(name="shap", packages=("shap==0.51.0",)), packages=("shap",), run=run)
