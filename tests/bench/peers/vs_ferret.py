"""ferret: AOPC comprehensiveness and sufficiency, and tau-LOO, of one map, from the same rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.stats import kendalltau

from rollcall.domain.maps import Bools, Floats
from rollcall.domain.rows import Row
from tests.bench.peers.environments import Environment
from tests.bench.peers.measure import Answer, Case, Finding, Side, Work, stopped
from tests.bench.peers.ours import Ours, probabilities
from tests.bench.peers.process import PeerProcess
from tests.bench.peers.session import Comparison, Session

BATCHES = (4, 16, 32, 64, 128)
TOLERANCE = 1e-4
SHARES = np.arange(0.1, 1.1, 0.1)
"""Shares of the units that are removed or kept, as ferret takes them."""


def run(session: Session) -> Iterator[Finding]:
    """Measure at every length."""
    with session.peer(COMPARISON) as peer:
        peer.ask("load", directory=str(session.ours.directory))
        for tokens in session.lengths:
            yield session.measure(_work(session, peer, tokens), session.cases(tokens))


def _work(session: Session, peer: PeerProcess, tokens: int) -> Work:
    return Work(
        name="AOPC comprehensiveness, AOPC sufficiency and tau-LOO of one map",
        peer="ferret",
        tokens=tokens,
        ours=Side(name="rows", run=lambda case: stopped(lambda: metrics(session.ours, case))),
        default=_side(session, peer, None),
        candidates=tuple(_side(session, peer, batch) for batch in BATCHES),
        tolerance=TOLERANCE,
        note=(
            "AOPC replaces tokens by the mask token (ferret's own option remove_tokens=False), tau-LOO deletes them, "
            "which ferret always does; all rows of ours are the same sequences. ferret runs the untouched input once "
            "for each metric, we run it once. Tuned is the batch size of its model helper, which its metrics fix at 8. "
            "It decodes and tokenises every row; ours are made of token ids."
        ),
    )


def metrics(ours: Ours, case: Case) -> tuple[Floats, int]:
    """The three metrics by their definitions, for the class predicted, and how many rows that took."""
    weights, units = importance(case), len(case.encoding.units)
    # A share that adds no unit to the one before counts once, as it does in ferret.
    tops = [_top(weights, count) for count in sorted({int(share * units) for share in SHARES} - {0})]
    deleted = [[*case.ids[: i + 1], *case.ids[i + 2 :]] for i in range(units)]
    work = [(case.encoding, Row())]
    work += [(case.encoding, Row(removed=top)) for top in tops]
    work += [(case.encoding, Row(removed=~top)) for top in tops]
    work += [(ours.encode_ids(ids), Row()) for ids in deleted]
    logits = ours.logits(work)
    found = probabilities(logits)[:, int(logits[0].argmax())]
    without, only, left_out = np.split(found[1:], [len(tops), 2 * len(tops)])
    tau = kendalltau(found[0] - left_out, weights).statistic
    scores = (found[0] - without).mean(), (found[0] - only).mean(), tau
    return np.asarray(scores, dtype=np.float64), len(work)


def importance(case: Case) -> Floats:
    """A map to be judged: positive weights, no two equal. What it is changes neither rows nor agreement."""
    return np.random.default_rng(case.ids).permutation(len(case.encoding.units)).astype(np.float64) + 1


def _top(weights: Floats, count: int) -> Bools:
    chosen = np.zeros(len(weights), dtype=bool)
    chosen[np.argsort(weights)[len(weights) - count :]] = True
    return chosen


def _side(session: Session, peer: PeerProcess, batch: int | None) -> Side:
    def act(case: Case) -> Answer:
        answer = peer.ask(
            "evaluate",
            text=case.text,
            tokens=["[CLS]", *case.text.split(), "[SEP]"],
            scores=[0.0, *importance(case), 0.0],
            target=session.ours.predicted(case),
            batch=batch,
        )
        return Answer.of(answer)

    return Side(name="defaults" if batch is None else f"batches of {batch}", run=act)


COMPARISON = Comparison(
    environment=Environment(
        name="ferret",
        packages=(
            "captum==0.9.0",
            "shap==0.51.0",
            "lime",
            "seaborn",
            "pandas",
            "opencv-python-headless",
            "scikit-image",
            "joblib",
            "datasets",
            "pytreebank",
            "sentencepiece",
        ),
        loose=("ferret-xai==0.4.2",),
        stubs=("thermostat",),
    ),
    packages=("ferret-xai",),
    run=run,
)
