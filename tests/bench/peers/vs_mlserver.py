"""MLServer: predictions over gRPC, by one caller and by eight, and an explainer inside it beside our Explain."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rollcall.domain.rows import Row
from tests.bench.peers import servers
from tests.bench.peers.environments import Environment
from tests.bench.peers.measure import Answer, Case, Finding, Per, Side, Work, gap
from tests.bench.peers.ours import leave_one_out, probabilities
from tests.bench.peers.process import PeerProcess
from tests.bench.peers.session import Comparison, Session

CALLERS = (1, 8)
CALLS = 24
"""Of one measurement: enough for a clock of 10 ms steps."""
BATCH_SECONDS = 0.005
"""How long adaptive batching waits for a batch to fill."""
TOLERANCE = 1e-4
PER_EVAL = (8, 32)
CLASSIFIER, EXPLAINER = "classifier", "explainer"


def run(session: Session) -> Iterator[Finding]:
    """Measure predictions by every number of callers, then explanations, at every length."""
    with servers.few_cores(), session.peer(COMPARISON) as peer:
        session.log("MLServer: starting servers ...")
        rivals = Rivals(peer=peer, work=str(session.work / "mlserver-repositories"), uri=str(session.ours.directory))
        with servers.own_server(session.ours.directory) as own:
            for tokens in session.lengths:
                cases = session.cases(tokens)
                for callers in CALLERS:
                    predicting = _predict(rivals, own.target, own.process.pid, tokens, callers)
                    yield session.measure(predicting, cases)
                yield session.measure(_explain(session, rivals, own.target, own.process.pid, tokens), cases)


@dataclass(slots=True, kw_only=True)
class Rivals:
    """MLServer with several settings, each a server that is started when first asked for and then stays up, idle."""

    peer: PeerProcess
    work: str
    uri: str
    pids: dict[str, int] = field(default_factory=dict)

    def call(self, server: str, model: str, texts: list[str], callers: int) -> Answer:
        """Call a model of a server, and take that server's processor time."""
        if server not in self.pids:
            self.pids[server] = self._start(server)
        return servers.with_server_time(
            self.pids[server],
            lambda: Answer.of(self.peer.ask("call", name=server, model=model, texts=texts, callers=callers)),
        )

    def _start(self, server: str) -> int:
        settings, batching = SERVERS[server]
        classifier = {"implementation": "mlserver_runtime.Classifier", "parameters": {"uri": self.uri}, **batching}
        explainers = {
            _explainer(each): {
                "implementation": "mlserver_runtime.LeaveOneOut",
                "parameters": {"uri": self.uri, "extra": {} if each is None else {"perturbations_per_eval": each}},
            }
            for each in (() if batching else (None, *PER_EVAL))
        }
        models = {CLASSIFIER: classifier, **explainers}
        return int(self.peer.ask("start", name=server, work=self.work, server=settings, models=models)["pid"])


SERVERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "defaults": ({}, {}),
    "in-process": ({"parallel_workers": 0}, {}),
    "in-process-batching": ({"parallel_workers": 0}, {"max_batch_size": 8, "max_batch_time": BATCH_SECONDS}),
}
"""Settings of the server and of the classifier: by default a worker process, no batching."""


def _explainer(per_eval: int | None) -> str:
    return EXPLAINER if per_eval is None else f"{EXPLAINER}-{per_eval}"


def _predict(rivals: Rivals, target: str, pid: int, tokens: int, callers: int) -> Work:
    def own(case: Case) -> Answer:
        def call() -> Answer:
            started = time.perf_counter()
            found = servers.predict(target, [case.text] * CALLS, callers)
            return Answer(scores=np.array(found), rows=CALLS, cpu=0.0, wall=time.perf_counter() - started)

        return servers.with_server_time(pid, call)

    def side(name: str) -> Side:
        return Side(name=name, run=lambda case: rivals.call(name, CLASSIFIER, [case.text] * CALLS, callers))

    return Work(
        name=f"{CALLS} predictions over gRPC, {callers} at a time",
        peer="MLServer",
        tokens=tokens,
        ours=Side(name="Predict", run=own),
        default=side("defaults"),
        candidates=(side("in-process"), side("in-process-batching")),
        tolerance=TOLERANCE,
        note=(
            "Text in, class probabilities out, one compute thread; processor time is the server's, wall time the "
            "callers'. MLServer by default has a worker process and does not batch; tuned, it runs the model in its "
            "own process, and may batch up to 8 calls. Our Predict is one row per call and is never batched with "
            "other calls; its answer also tells margin, target, digest and timing, and our client reads it into "
            "values, where the peer's caller takes the raw message."
        ),
        row="call",
    )


def _explain(session: Session, rivals: Rivals, target: str, pid: int, tokens: int) -> Work:
    def own(case: Case) -> Answer:
        def call() -> Answer:
            explanation, wall = servers.explain(target, case.text)
            return Answer(scores=None, rows=explanation.rows + 1, cpu=0.0, wall=wall)

        return servers.with_server_time(pid, call)

    def side(server: str, per_eval: int | None) -> Side:
        def act(case: Case) -> Answer:
            answer = rivals.call(server, _explainer(per_eval), [case.text], 1)
            # Its rows cannot be counted from here: one to find the class, and those that Captum needs.
            return Answer(scores=answer.scores, rows=tokens, cpu=answer.cpu, wall=answer.wall)

        return Side(name=server if per_eval is None else f"{server}, {per_eval} at once", run=act)

    default = side("defaults", None)
    tuned = tuple(side("in-process", each) for each in PER_EVAL)

    def disagreement(case: Case) -> float:
        """Effects of MLServer's explainer against our rows', and the server's prediction against the same."""
        effects = leave_one_out(session.ours, case.encoding)[0]
        explanation, _ = servers.explain(target, case.text)
        predicted = probabilities(session.ours.rows(case.encoding, [Row()])[0])
        largest = gap(np.array(explanation.prediction.probabilities), predicted)
        for each in (default, *tuned):
            scores = each.run(case).scores
            assert scores is not None
            largest = max(largest, gap(scores[0], effects))
        return largest

    return Work(
        name="leave-one-out by Captum inside MLServer, beside our Explain",
        peer="MLServer",
        tokens=tokens,
        ours=Side(name="Explain", run=own),
        default=default,
        candidates=tuned,
        tolerance=TOLERANCE,
        note=(
            "What a team without us would build: an inference runtime that calls FeatureAblation, with "
            "perturbations_per_eval left at 1 and tuned. Its effects are compared with our leave-one-out rows, which "
            "the captum rows time. Our Explain is more than that, four maps, their checks and a flag, so ratios are "
            "of time per row."
        ),
        per=Per.ROW,
        disagreement=disagreement,
    )


COMPARISON = Comparison(
    environment=Environment(
        name="mlserver",
        # uvloop 0.22 no longer gives MLServer 1.7.1's workers an event loop: they die at once, again and again.
        packages=("mlserver==1.7.1", "uvloop<0.22", "captum==0.9.0"),
    ),
    packages=("mlserver", "captum"),
    run=run,
)
