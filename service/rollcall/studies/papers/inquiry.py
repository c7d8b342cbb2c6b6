"""What the papers measure on one input, by the engine's own rows, maps and searches.

Shapes: n unit, R row, T token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from rollcall.attribution.units import shares, unit_sums
from rollcall.checks.adversary import adversary
from rollcall.checks.base import Subject, WitnessFinding
from rollcall.checks.rank_agreement import rank_agreement
from rollcall.domain.compute import Search
from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import Floats, MapKind, MapOptions, UnitMap
from rollcall.domain.policy import ThoroughPolicy
from rollcall.domain.rows import RemovalOperator, Row, RowResult
from rollcall.domain.seeds import derived_seed
from rollcall.engine.adversary import AdversarySearch
from rollcall.studies.laboratory import NAME, Bench, Laboratory
from rollcall.studies.papers.recurrent.backend import RecurrentBackend
from rollcall.verdict.policies import THOROUGH


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """One input of one model, with its raw attention."""

    bench: Bench = field(repr=False)
    attention: UnitMap = field(repr=False)

    @classmethod
    def of(cls, laboratory: Laboratory, text: TextInput) -> Inquiry:
        """Open an input. Raises InvalidInput."""
        bench = laboratory.open(text)
        attention = next(one for one in bench.captured.maps if one.kind is MapKind.RAW_ATTENTION)
        return cls(bench=bench, attention=attention)

    @property
    def subject(self) -> Subject:
        """What the checks see of it."""
        return self.bench.subject

    def changes(self, rows: Sequence[RowResult]) -> Floats:
        """Total variation distances [R] of predictions from the untouched one; of two classes, |dy|."""
        return np.array([self.subject.tvd(row) for row in rows])

    def leave_one_out(self) -> Floats:
        """How far the prediction moves when each unit is taken out of the text [n] (Jain and Wallace 2019, alg. 1)."""
        n, deletion = self.subject.n, RemovalOperator.DELETION
        return self.changes(self.bench.run([self.subject.removal((unit,), deletion) for unit in range(n)]))

    def gradient(self, *, detached: bool) -> Floats | None:
        """Size of the gradient times the embedding of each unit [n].

        `detached`: with the attention weights held fast, as Jain and Wallace 2019 have it; None on a transformer, where
        nothing is left between the words and the answer without them.
        """
        backend, subject = self.bench.laboratory.model.backend, self.subject
        if not detached:
            _, at = self.bench.laboratory.engine.path_gradients(NAME, subject.encoding, subject.decision, (1.0,))
            return np.abs(unit_sums(at[0], subject.encoding))
        if not isinstance(backend, RecurrentBackend):
            return None
        found = backend.detached_gradients(subject.encoding, subject.decision)
        return np.abs(unit_sums(found.double().numpy(), subject.encoding))

    def attention_gradient(self) -> Floats:
        """Signed gradient of the margin by the read-out's attention to each unit in the last layer [n], mean of heads.

        Serrano and Smith 2019, section 5.2. Weights are moved freely, as if they did not have to sum to 1.
        """
        subject = self.subject
        backend = self.bench.laboratory.engine.differentiable(NAME)
        shape = (1, backend.shape.layers, backend.shape.heads, subject.encoding.length)
        attended = backend.biased(subject.encoding, torch.zeros(shape).requires_grad_())
        last = attended.probabilities[-1]
        direction = torch.from_numpy(subject.decision.gradient(subject.base.logits)).to(attended.logits)
        (gradient,) = torch.autograd.grad(attended.logits, last, direction[None])
        readout = gradient[0, :, backend.readout if last.shape[2] > 1 else 0].sum(dim=0).double().cpu().numpy()
        tokens = unit_sums(np.ones(subject.encoding.length), subject.encoding)
        return np.asarray(unit_sums(readout, subject.encoding) / tokens)

    def tau(self, scores: Floats, reference: Floats | None) -> tuple[float, float] | None:
        """Kendall's tau-b of two orders of the units and its p-value; None where there is nothing to order."""
        as_map = UnitMap(kind=MapKind.RAW_ATTENTION, scores=shares(scores), dropped_mass=0.0)
        found = rank_agreement(self.subject, as_map, reference, "reference", 0)
        return None if found.value is None or found.p_value is None else (found.value, found.p_value)

    def furthest(
        self, tolerance: float, *, restarts: int, steps: int, step_size: float, drawn: Sequence[RowResult] = ()
    ) -> float:
        """JSD (nats) of the most different attention found whose prediction is within `tolerance`; 0 if none is.

        The engine's adversary, confirmed by a fresh forward; `drawn` rows of other attention count as well.
        """
        subject, backend = self.subject, self.bench.laboratory.engine.differentiable(NAME)
        policy = tolerant(tolerance)
        search = Search(
            kind=MapKind.RAW_ATTENTION,
            original=self.attention.scores,
            logits=subject.base.logits,
            decision=subject.decision,
            tolerance=tolerance,
            restarts=restarts,
            steps=steps,
            step_size=step_size,
            seed=derived_seed(subject.seed, "eps-max"),
        )
        searching = AdversarySearch(
            backend=backend,
            encoding=subject.encoding,
            options=MapOptions(),
            search=search,
            first=0,
            count=restarts,
        )
        for _ in range(steps):
            self.bench.laboratory.engine.searching(searching)
        found = self._driven(searching.proposed(), drawn, policy, search.rows)
        return 0.0 if found.result.value is None else found.result.value

    def _driven(
        self, proposed: list[Floats], drawn: Sequence[RowResult], policy: ThoroughPolicy, rows: int
    ) -> WitnessFinding:
        """What the check says of what the search proposed."""
        asking = adversary(self.subject, self.attention, proposed, drawn, policy, rows)
        answer: list[RowResult] | None = None
        while True:
            try:
                wanted: list[Row] = asking.send(answer) if answer is not None else next(asking)
            except StopIteration as ended:
                finding: WitnessFinding = ended.value
                return finding
            answer = self.bench.run(wanted)


def tolerant(tolerance: float) -> ThoroughPolicy:
    """The thorough policy with another tolerance of the adversary."""
    return ThoroughPolicy(name="papers", version=THOROUGH.version, adversary_tvd=tolerance)
