"""Captum: leave-one-out of every token, and what its integrated gradients cost beside one of our explanations."""

from __future__ import annotations

from collections.abc import Iterator

from rollcall.domain.maps import Floats
from tests.bench.peers.environments import Environment
from tests.bench.peers.measure import Answer, Case, Finding, Side, Work, stopped
from tests.bench.peers.ours import leave_one_out
from tests.bench.peers.process import PeerProcess
from tests.bench.peers.session import Comparison, Session
from tests.harness import Harness, serving
from tests.tiny import Tiny

BATCHES = (8, 16, 32, 64, 128)
TOLERANCE = 1e-4
"""Of logits in float32, whose batches are cut differently."""


def run(session: Session) -> Iterator[Finding]:
    """Measure both kinds of work at every length."""
    with session.peer(COMPARISON) as peer:
        peer.ask("load", directory=str(session.ours.directory))
        for tokens in session.lengths:
            cases = session.cases(tokens)
            yield session.measure(_leave_one_out(session, peer, tokens), cases)
        with serving(Tiny(family="bert", directory=session.ours.directory).loaded) as harness:
            for tokens in session.lengths:
                cases = session.cases(tokens)
                yield session.measure(_integrated_gradients(session, peer, harness, tokens), cases)


def _leave_one_out(session: Session, peer: PeerProcess, tokens: int) -> Work:
    return Work(
        name="leave-one-out of every token",
        peer="Captum",
        tokens=tokens,
        ours=Side(name="rows", run=lambda case: stopped(lambda: leave_one_out(session.ours, case.encoding))),
        default=_side(session, peer, "leave_one_out", None),
        candidates=tuple(_side(session, peer, "leave_one_out", batch) for batch in BATCHES if batch < 2 * (tokens - 2)),
        tolerance=TOLERANCE,
        note=(
            "Captum's FeatureAblation with the mask token as baseline, perturbations_per_eval left at 1 and tuned; "
            "ours are rows with one unit removed, in the service's chunks. The forwarded rows are the same ones. Both "
            "run the same kernels, so beside a tuned Captum there is little to gain on a processor."
        ),
    )


def _integrated_gradients(session: Session, peer: PeerProcess, harness: Harness, tokens: int) -> Work:
    return Work(
        name="integrated gradients, 50 steps, beside one whole explanation",
        peer="Captum",
        tokens=tokens,
        ours=Side(name="explanation", run=lambda case: stopped(lambda: _explained(harness, case))),
        default=_side(session, peer, "integrated_gradients", None),
        candidates=tuple(_side(session, peer, "integrated_gradients", batch) for batch in (5, 10, 25)),
        tolerance=None,
        note=(
            "Cost only: two different things. Integrated gradients is 50 forward and backward passes for one map and "
            "no check of it; ours is a whole STANDARD explanation, its maps, checks and flag. Tuned is "
            "internal_batch_size."
        ),
    )


def _explained(harness: Harness, case: Case) -> tuple[Floats | None, int]:
    return None, harness.explain(case.text).rows + 1


def _side(session: Session, peer: PeerProcess, operation: str, batch: int | None) -> Side:
    def act(case: Case) -> Answer:
        target = session.ours.predicted(case)
        return Answer.of(peer.ask(operation, ids=case.ids, target=target, per_eval=batch))

    return Side(name="defaults" if batch is None else f"{batch} at once", run=act)


COMPARISON = Comparison(
    environment=Environment(name="captum", packages=("captum==0.9.0",)), packages=("captum",), run=run
)
