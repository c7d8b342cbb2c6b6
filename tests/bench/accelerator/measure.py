"""Latency of one explanation at a time, throughput of many, and where the time goes."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from rollcall.domain.compute import Job
from rollcall.domain.explanation import ExplainRequest, Explanation
from rollcall.domain.maps import MapOptions
from rollcall.edge.converters import replies
from rollcall.engine.threads import configure_threads
from tests.bench.accelerator.models import Pair, made
from tests.bench.cost.recording import Call, Recording, Replaying
from tests.bench.results import log
from tests.bench.spread import Spread, in_turn
from tests.harness import Harness, serving

STOCK_ROWS = (1, 4, 16, 32, 64, 128, 256)
ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
"""Kinds of events of a trace that keep the device busy."""
MATRIX = {"cuda": 8192, "cpu": 1024}
"""Side of the matrices whose product is the limit."""
KERNELS = 12
IN_FLIGHT = 256
CALLERS = 4
"""Of each of several processes."""
OWN = 64
"""Inputs of each caller."""
QUICK_TOKENS = 12
TOGETHER_SECONDS = 120.0
"""That processes may take to get ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    latency: int = 200
    """Explanations one after another."""
    seconds: float = 6.0
    """Of each saturated run."""
    concurrency: tuple[int, ...] = (1, 8, 32)
    processes: tuple[int, ...] = (4, 12)
    """Of this many processes that share the device, with a few callers each."""
    profiled: int = 10
    repeats: int = 5
    texts: int = 16


QUICK = Plan(latency=4, seconds=0.2, concurrency=(2,), processes=(2,), profiled=1, repeats=1, texts=2)
"""To see that it works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturated:
    """So many callers, each with a request in flight all the time."""

    processes: int
    callers: int
    """Of all processes."""
    explanations_per_second: float
    rows_per_second: float
    share_of_limit: float
    """Of the matrix product's rate, counting for each row what the stock model would compute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything about one model."""

    model: str
    device: str
    dtype: str
    tokens: int
    noise: float
    self_tests: dict[str, str]
    limit_tflops: float
    row_gflop: float
    stock_rows_per_second: dict[int, float]
    rows: float
    """Of an explanation, in the mean."""
    flags: dict[str, float]
    """Of all maps, the share of each flag and reason."""
    latency_ms: dict[str, float]
    stages_ms: dict[str, Spread]
    statistics_ms: Spread
    """Everything but the model, per explanation."""
    checks_rows_per_second: Spread
    one_by_one_ratio: Spread
    """The rows of its checks on the stock model one by one, over its checks."""
    predict_ms: Spread
    saturated: tuple[Saturated, ...] = ()
    busy: dict[str, float] = field(default_factory=dict)
    """Of one explanation: wall, kernels and launches."""
    kernels: tuple[tuple[str, float, float], ...] = ()
    """Name, share of the device's time, launches per explanation."""

    @property
    def fan_out(self) -> float:
        """Rows per second of the checks over the stock model's in its best batch."""
        return self.checks_rows_per_second.middle / max(self.stock_rows_per_second.values())


def measure(pair: Pair, plan: Plan) -> Found:
    """Measure one model."""
    with serving(pair.loaded, in_flight=IN_FLIGHT) as harness:
        log(f"{pair.name}: the stock model and the matrix product ...")
        limit, stock = matrix_rate(pair), stock_rates(pair, plan)
        log(f"{pair.name}: {plan.latency} explanations one after another ...")
        explained, latency, stages = one_after_another(pair, harness, plan)
        recording = record(pair, harness)
        log(f"{pair.name}: its rows by themselves ...")
        ran = rows_alone(pair, harness, recording, plan)
        checked = sum(len(call.rows) for call in recording.calls)
        found = Found(
            model=pair.name,
            device=_device_name(pair.backend.device),
            dtype=pair.backend.dtype,
            tokens=pair.tokens,
            noise=pair.backend.noise,
            self_tests={
                test.name: f"{'passed' if test.passed else 'failed'}: {test.value:.2g}"
                for test in pair.loaded.self_tests
            },
            limit_tflops=limit / 1e12,
            row_gflop=pair.operations() / 1e9,
            stock_rows_per_second=stock,
            rows=sum(each.rows for each in explained) / len(explained),
            flags=shares_of_flags(explained),
            latency_ms={f"p{q}": float(np.percentile(latency, q)) * 1000 for q in (50, 90, 99)},
            stages_ms=stages,
            statistics_ms=Spread.of([each * 1000 for each in ran["statistics"]]),
            checks_rows_per_second=Spread.of([checked / each for each in ran["checks"]]),
            one_by_one_ratio=Spread.of_ratios(ran["one by one"], ran["checks"]),
            predict_ms=Spread.of([each * 1000 for each in ran["predict"]]),
        )
        for callers in plan.concurrency:
            log(f"{pair.name}: {callers} callers for {plan.seconds:g} s ...")
            answer = saturate(pair, harness, plan, callers)
            found = replace(found, saturated=(*found.saturated, rates(found, 1, callers, [answer])))
        log(f"{pair.name}: where the time goes ...")
        busy, kernels = profiled(pair, harness, plan)
        found = replace(found, busy=busy, kernels=kernels)
    for processes in plan.processes:
        log(f"{pair.name}: {processes} processes for {plan.seconds:g} s ...")
        answers = together(pair, plan, processes)
        found = replace(found, saturated=(*found.saturated, rates(found, processes, processes * CALLERS, answers)))
    return found


def matrix_rate(pair: Pair) -> float:
    """Operations per second of one large matrix product of random numbers in the model's precision: the limit."""
    device = torch.device(pair.backend.device)
    side = MATRIX[device.type]
    left, right = (torch.randn(side, side, device=device, dtype=next(pair.stock.parameters()).dtype) for _ in "ab")

    def multiply() -> None:
        for _ in range(5):
            torch.mm(left, right)
        _wait(device)

    multiply()
    spent = in_turn({"product": multiply}, repeats=3, clock=time.perf_counter)["product"]
    return 2 * side**3 * 5 / median(spent)


def stock_rates(pair: Pair, plan: Plan) -> dict[int, float]:
    """Rows per second of the stock model by batch size, its input on the device, its answers fetched."""
    batches = {rows: pair.batch(rows) for rows in STOCK_ROWS}
    actions = {str(rows): partial(pair.forward, batch) for rows, batch in batches.items()}
    for act in actions.values():
        act()
    spent = in_turn(actions, repeats=plan.repeats, clock=time.perf_counter)
    return {rows: rows / median(spent[str(rows)]) for rows in STOCK_ROWS}


def one_after_another(
    pair: Pair, harness: Harness, plan: Plan
) -> tuple[list[Explanation], list[float], dict[str, Spread]]:
    """Explain inputs in turn, each once before: answers, seconds with the reply written, stages in milliseconds."""
    requests = pair.requests(plan.texts)
    for request in requests:
        harness.explain(request)
    answers: list[Explanation] = []
    spent: list[float] = []

    async def run() -> None:
        for number in range(plan.latency):
            started = time.perf_counter()
            answer = await harness.pipeline.explain(requests[number % len(requests)])
            replies.explain_response(answer).SerializeToString()
            spent.append(time.perf_counter() - started)
            answers.append(answer)

    harness.wait(run())
    stages = [dict(answer.timing.stages) for answer in answers]
    return (
        answers,
        spent,
        {name: Spread.of([each.get(name, 0.0) * 1000 for each in stages]) for name in stages[0]},
    )


def shares_of_flags(answers: Sequence[Explanation]) -> dict[str, float]:
    """Of all maps of all answers, the share of each flag, or of the reason where there is none."""
    verdicts = [each.verdict for answer in answers for each in answer.attributions]
    counts = Counter(
        verdict.flag.name if verdict.reason is None else f"{verdict.flag.name} ({verdict.reason.name})"
        for verdict in verdicts
    )
    return {name: count / len(verdicts) for name, count in counts.most_common()}


def record(pair: Pair, harness: Harness) -> Recording:
    """One explanation's calls."""
    recording = Recording(compute=harness.pipeline.compute)
    before, harness.pipeline.compute = harness.pipeline.compute, recording
    try:
        harness.explain(pair.inputs.request(0))
    finally:
        harness.pipeline.compute = before
    return recording


def rows_alone(pair: Pair, harness: Harness, recording: Recording, plan: Plan) -> dict[str, list[float]]:
    """Seconds of one explanation's rows through the queue, of as many on the stock model one by one, and others."""
    encoding = recording.encoding
    assert encoding is not None
    dispatcher, compute = harness.dispatcher, harness.pipeline.compute

    async def run_calls(calls: list[Call]) -> None:
        for call in calls:
            await dispatcher.run(Job(arrived=time.monotonic()), "0", encoding, call.rows, MapOptions())

    one, request = pair.batch(1), pair.inputs.request(0)

    def one_by_one() -> None:
        for _ in range(sum(len(call.rows) for call in recording.calls)):
            pair.forward(one)

    actions: dict[str, Callable[[], object]] = {
        "checks": lambda: harness.wait(run_calls(recording.calls)),
        "one by one": one_by_one,
        "predict": lambda: harness.wait(compute.predict(Job(arrived=time.monotonic()), "0", encoding)),
        "statistics": lambda: replayed(harness, recording, request),
    }
    for act in actions.values():
        act()
    return in_turn(actions, repeats=plan.repeats * 2, clock=time.perf_counter)


def replayed(harness: Harness, recording: Recording, request: ExplainRequest) -> None:
    """Explain with every answer of the model at hand."""
    memory = Replaying(
        compute=recording.compute, encoding=recording.encoding, captured=recording.captured, calls=recording.calls
    )
    before, harness.pipeline.compute = harness.pipeline.compute, memory
    try:
        replies.explain_response(harness.explain(request)).SerializeToString()
    finally:
        harness.pipeline.compute = before


def saturate(pair: Pair, harness: Harness, plan: Plan, callers: int, first: int = 0) -> tuple[int, int, float]:
    """Let so many callers ask for explanations of inputs of their own all the time: explanations, rows, seconds.

    Requests are written before, and asked again where a caller is through with its own.
    """
    answered: Counter[str] = Counter()
    stop = 0.0
    requests = [pair.requests(OWN, first + number * 1009) for number in range(callers)]

    async def call(number: int) -> None:
        turn = 0
        while time.perf_counter() < stop:
            explanation = await harness.pipeline.explain(requests[number][turn % OWN])
            replies.explain_response(explanation).SerializeToString()
            answered["explanations"] += 1
            answered["rows"] += explanation.rows
            turn += 1

    async def run() -> float:
        nonlocal stop
        started = time.perf_counter()
        stop = started + plan.seconds
        await asyncio.gather(*(call(number) for number in range(callers)))
        return time.perf_counter() - started

    seconds = harness.wait(run())
    return answered["explanations"], answered["rows"], seconds


def together(pair: Pair, plan: Plan, processes: int) -> list[tuple[int, int, float]]:
    """Saturate the device from several processes at once, each with the model to itself."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(processes)
    answers: multiprocessing.Queue[tuple[int, int, float]] = context.Queue()
    backend = pair.backend
    workers = [
        context.Process(
            target=_work,
            args=(pair.name, backend.device, backend.dtype, pair.tokens, plan, processes, number, ready, answers),
        )
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    try:
        return [answers.get(timeout=TOGETHER_SECONDS) for _ in workers]
    finally:
        for worker in workers:
            worker.join(timeout=TOGETHER_SECONDS)
            worker.terminate()


def _work(
    name: str,
    device: str,
    dtype: str,
    tokens: int,
    plan: Plan,
    processes: int,
    number: int,
    ready: Barrier,
    answers: Queue[tuple[int, int, float]],
) -> None:
    configure_threads(processes)
    with (
        made(name, device=device, dtype=dtype, tokens=tokens) as pair,
        serving(pair.loaded, in_flight=IN_FLIGHT) as harness,
    ):
        for request in pair.requests(plan.texts):
            harness.explain(request)
        ready.wait(timeout=TOGETHER_SECONDS)
        answers.put(saturate(pair, harness, plan, CALLERS, first=(number + 1) * 100_003))


def rates(found: Found, processes: int, callers: int, answers: Sequence[tuple[int, int, float]]) -> Saturated:
    """What so many processes did together, against the device's limit."""
    rows = sum(each[1] / each[2] for each in answers)
    return Saturated(
        processes=processes,
        callers=callers,
        explanations_per_second=sum(each[0] / each[2] for each in answers),
        rows_per_second=rows,
        share_of_limit=rows * found.row_gflop / 1e3 / found.limit_tflops,
    )


def profiled(pair: Pair, harness: Harness, plan: Plan) -> tuple[dict[str, float], tuple[tuple[str, float, float], ...]]:
    """Where the device's time goes in explanations one after another; nothing where there is no device beside."""
    if not pair.backend.device.startswith("cuda"):
        return {}, ()
    requests = pair.requests(plan.profiled)
    started = time.perf_counter()
    for request in requests:
        harness.explain(request)
    wall = (time.perf_counter() - started) / len(requests)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as watched:
        for request in requests:
            harness.explain(request)
        _wait(torch.device(pair.backend.device))
    with TemporaryDirectory() as directory:
        trace = Path(directory, "trace.json")
        watched.export_chrome_trace(str(trace))
        events = json.loads(trace.read_bytes())["traceEvents"]
    times: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for event in events:
        if event.get("cat") in ON_DEVICE:
            times[event["name"]] += event["dur"]
            counts[event["name"]] += 1
    called = Counter(event["name"] for event in events if event.get("cat") == "cuda_runtime")
    total = sum(times.values())
    busy = {
        "wall ms": wall * 1000,
        "device busy ms": total / 1000 / len(requests),
        "kernels": sum(counts.values()) / len(requests),
        "launches": sum(count for name, count in called.items() if "Launch" in name) / len(requests),
        "waits for the device": sum(count for name, count in called.items() if "Synchronize" in name) / len(requests),
    }
    shares = tuple((name, spent / total, counts[name] / len(requests)) for name, spent in times.most_common(KERNELS))
    return busy, shares


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def numbers(found: Found) -> Mapping[str, object]:
    """Return the same as a mapping."""
    return {**asdict(found), "fan_out": found.fan_out}
