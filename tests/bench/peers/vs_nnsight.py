"""nnsight: attention replaced by its own permutations, the same ones on both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from rollcall.domain.maps import Floats
from rollcall.domain.rows import AttentionEdit, Row
from rollcall.domain.seeds import random_permutations
from tests.bench.peers.environments import Environment
from tests.bench.peers.measure import Answer, Case, Finding, Side, Work, stopped
from tests.bench.peers.ours import Ours
from tests.bench.peers.process import PeerProcess
from tests.bench.peers.session import Comparison, Session

ROWS = 16
BATCHES = (4, 8, 16)
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Which layers are edited, of how many, and how a row of ours says so."""

    name: str
    layers: Callable[[int], range]
    row: Callable[[int, tuple[int, ...]], Row]
    note: str


EDITS = (
    Edit(
        name="attention of all layers permuted",
        layers=range,
        row=lambda seed, _: Row(edit=AttentionEdit.PERMUTED, seed=seed),
        note="Our rows also recompute raw attention and rollout under each permutation, which nnsight's do not.",
    ),
    Edit(
        name="attention of the last layer permuted",
        layers=lambda layers: range(layers - 1, layers),
        row=lambda seed, layers: Row(edit=AttentionEdit.PERMUTED, seed=seed, layers=layers),
        note="Our rows share all that lies below the last layer, and there compute one query.",
    ),
)


def run(session: Session) -> Iterator[Finding]:
    """Measure every edit at every length."""
    with session.peer(COMPARISON) as peer:
        peer.ask("load", directory=str(session.ours.directory))
        for edit in EDITS:
            for tokens in session.lengths:
                cases = session.cases(tokens)
                for case in cases:
                    peer.ask("permutations", name=case.text, orders=_orders(session.ours, case).tolist())
                yield session.measure(_work(session, peer, edit, tokens), cases)


def _orders(ours: Ours, case: Case) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Key orders [row, layer, head, key]: those that our rows of seeds 0, 1, ... draw."""
    shape = ours.loaded.backend.shape
    layout = (shape.layers, shape.heads, case.encoding.length)
    return np.stack([random_permutations(seed, "keys", layout) for seed in range(ROWS)])


def _work(session: Session, peer: PeerProcess, edit: Edit, tokens: int) -> Work:
    layers = list(edit.layers(session.ours.loaded.backend.shape.layers))

    def own(case: Case) -> tuple[Floats, int]:
        return session.ours.rows(case.encoding, [edit.row(seed, tuple(layers)) for seed in range(ROWS)]), ROWS

    def side(name: str, operation: str, **options: int) -> Side:
        def act(case: Case) -> Answer:
            return Answer.of(peer.ask(operation, name=case.text, ids=case.ids, layers=layers, **options))

        return Side(name=name, run=act)

    return Work(
        name=edit.name,
        peer="nnsight",
        tokens=tokens,
        ours=Side(name="rows", run=lambda case: stopped(lambda: own(case))),
        default=side("a loop of traces", "loop"),
        candidates=(
            *(side(f"traces of {batch} rows", "batched", batch=batch) for batch in BATCHES),
            *(side(f"traces of {batch} rows, values gathered", "gathered", batch=batch) for batch in BATCHES),
        ),
        tolerance=TOLERANCE,
        note=(
            "By default one trace per permutation on eager attention, whose probabilities are replaced. Tuned: one "
            "trace per batch, and also, because we do it, values gathered in inverse order before the fused kernel. "
            f"{edit.note}"
        ),
    )


COMPARISON = Comparison(
    environment=Environment(name="nnsight", packages=("nnsight==0.8.1",)), packages=("nnsight",), run=run
)
