"""What an explanation costs: ratios within one run, on a random BERT of MiniLM's size (6 layers, 384 wide, 12 heads).

Everything is measured in turn, again and again, and medians are compared: a machine that is slow for a minute is slow
for all of them. Ratios are of processor time, which other programs on the machine hardly change; latencies are wall
time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import transformers

from rollcall.backends.base import variants
from rollcall.backends.tensors import Inputs
from rollcall.domain.compute import Captured, Compute, Job, Search
from rollcall.domain.decision import Decision
from rollcall.domain.explanation import Explanation
from rollcall.domain.inputs import Encoding, ModelInput
from rollcall.domain.maps import AttentionSelection, Floats, MapKind, MapOptions
from rollcall.domain.rows import AttentionEdit, RemovalOperator, Row, RowResult
from rollcall.edge.converters import replies
from tests.harness import MAX_BATCH_TOKENS, Harness, ask, serving
from tests.tiny import CORPUS, Tiny, make_model

MINILM: dict[str, Any] = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "initializer_range": 0.01,  # tiny models are sharpened: at this width their attention would be all or nothing
}
BERT_BASE: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "initializer_range": 0.005,
}
MEMORY_TOKENS = 512
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Batch sizes that the stock model is tried with."""
FAN_OUT_ROWS = 32
LAST_LAYER_EDITS = 512
ONE_BY_ONE = 16
"""Forwards of one row each that stand for as many as there are edits."""
COMPARED = 8


def log(line: str) -> None:
    """Tell how far we are, beside the table."""
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Rows that an explanation had run at once, with their answers."""

    rows: list[Row] = field(repr=False)
    results: list[RowResult] = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Recording:
    """A `Compute` that passes everything on and remembers it."""

    compute: Compute
    encoding: Encoding | None = None
    captured: Captured | None = None
    calls: list[Call] = field(default_factory=list)

    async def encode(self, model: str, model_input: ModelInput) -> Encoding:
        """Remember the encoding."""
        self.encoding = await self.compute.encode(model, model_input)
        return self.encoding

    async def predict(self, job: Job, model: str, encoding: Encoding) -> RowResult:
        """Pass on."""
        return await self.compute.predict(job, model, encoding)

    async def run(
        self, job: Job, model: str, encoding: Encoding, rows: list[Row], options: MapOptions
    ) -> list[RowResult]:
        """Remember the rows and their answers."""
        results = await self.compute.run(job, model, encoding, rows, options)
        self.calls.append(Call(rows=rows, results=results))
        return results

    async def capture(
        self,
        job: Job,
        model: str,
        encoding: Encoding,
        *,
        maps: frozenset[MapKind],
        options: MapOptions,
        decide: Callable[[Floats], Decision],
        attention: AttentionSelection | None,
        half_way: bool = False,
    ) -> Captured:
        """Remember the maps."""
        self.captured = await self.compute.capture(
            job,
            model,
            encoding,
            maps=maps,
            options=options,
            decide=decide,
            attention=attention,
            half_way=half_way,
        )
        return self.captured

    async def search(
        self,
        job: Job,
        model: str,
        encoding: Encoding,
        search: Search,
        options: MapOptions,
        stepped: Callable[[int], None],
    ) -> list[Floats]:
        """Pass on."""
        return await self.compute.search(job, model, encoding, search, options, stepped)

    def expected_seconds(self, model: str, rows: int, length: int) -> float:
        """Pass on."""
        return self.compute.expected_seconds(model, rows, length)

    def capture_seconds(self, model: str, length: int) -> float:
        """Pass on."""
        return self.compute.capture_seconds(model, length)


@dataclass(slots=True, kw_only=True)
class Replaying(Recording):
    """A `Compute` that answers from a recording at once: what is left is everything but the model."""

    at: int = 0

    async def encode(self, model: str, model_input: ModelInput) -> Encoding:  # noqa: ARG002 - the contract
        """Answer from the recording."""
        assert self.encoding is not None
        return self.encoding

    async def run(
        self,
        job: Job,  # noqa: ARG002 - the contract
        model: str,  # noqa: ARG002 - the contract
        encoding: Encoding,  # noqa: ARG002 - the contract
        rows: list[Row],
        options: MapOptions,  # noqa: ARG002 - the contract
    ) -> list[RowResult]:
        """Answer from the recording."""
        call = self.calls[self.at]
        self.at += 1
        assert len(call.rows) == len(rows)
        return call.results

    async def capture(self, *_: object, **__: object) -> Captured:
        """Answer from the recording."""
        assert self.captured is not None
        return self.captured


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One text with what an explanation of it ran, and how large the stock model's best batch is for it."""

    text: str = field(repr=False)
    recording: Recording = field(repr=False)
    explanation: Explanation = field(repr=False)
    looks: int
    stock_batch: int

    @property
    def encoding(self) -> Encoding:
        """As the model reads it."""
        assert self.recording.encoding is not None
        return self.recording.encoding

    @property
    def rows(self) -> int:
        """Rows of the explanation, the capture among them."""
        return self.explanation.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Medians at one length, over texts and repeats."""

    tokens: int
    rows: float
    looks: float
    explanation_ms: float
    whole_ratio: float
    one_by_one_ratio: float
    one_by_one_checks_ratio: float
    fan_out_efficiency: float
    statistics_ms_per_look: float
    statistics_share: float
    last_layer_ratio: float
    last_layer_error: float
    stages_ms: dict[str, float]
    efficiency_by_row: dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call] # not annotated
    with tempfile.TemporaryDirectory() as directory:
        log("making and proving a random BERT, 6 x 384 ...")
        tiny = Tiny(family="bert", directory=_classifier(Path(directory)))
        assert not tiny.loaded.failed
        with serving(tiny.loaded) as harness:
            found = [
                _measure(tiny, harness, length, texts=options.texts, repeats=options.repeats)
                for length in options.lengths
            ]
    print(table(found, options.threads))
    memory = _memory() if options.memory else None
    if memory is not None:
        print(f"\n{MEMORY_TOKENS} tokens on a BERT-base peak {memory:.2f} GiB above the weights (target: below 2).")
    if options.json:
        report = {
            "machine": machine(options.threads),
            "lengths": [asdict(each) for each in found],
            "memory_gib": memory,
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n")
        log(f"wrote {options.json}")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.bench_explain",
        description="Measure explanations against their rows on the stock model. Prints a table, progress to stderr.",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there as well")
    parser.add_argument("--memory", action="store_true", help="measure peak memory as well: a BERT-base, minutes")
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 128], metavar="TOKENS", help="tokens per text")
    parser.add_argument("--texts", type=int, default=4, help="texts per length (default: 4)")
    parser.add_argument("--repeats", type=int, default=7, help="measurements of each (default: 7)")
    parser.add_argument("--threads", type=int, default=1, help="threads that compute (default: 1)")
    return parser.parse_args(arguments)


def _memory() -> float:
    """GiB that a STANDARD explanation of a long text needs above what is held before it."""
    log(f"memory: making a random BERT-base, and explaining {MEMORY_TOKENS} tokens ...")
    with tempfile.TemporaryDirectory() as directory:
        tiny = Tiny(family="bert", directory=make_model("bert", Path(directory), classes=2, **BERT_BASE))
        with serving(tiny.loaded) as harness:
            # Linux: forget the peak so far, and read the one since.
            Path("/proc/self/clear_refs").write_text("5")
            before = _peak_bytes()
            harness.explain(_text(tiny, MEMORY_TOKENS, 0))
            return (_peak_bytes() - before) / 2**30


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _classifier(directory: Path) -> Path:
    """A random model whose answer depends on the words: its classifier reads what differs between random texts."""
    tiny = Tiny(family="bert", directory=make_model("bert", directory, classes=2, **MINILM))
    head = tiny.sdpa.classifier
    assert isinstance(head, torch.nn.Linear)
    ids = [tiny.backend.encode(ask(_text(tiny, 32, seed)).input).input_ids for seed in range(64)]
    with torch.no_grad():
        pooled = tiny.sdpa.base_model(input_ids=torch.from_numpy(np.stack(ids))).pooler_output
        direction = torch.pca_lowrank(pooled)[2][:, 0]
        spread = (pooled @ direction).std()
        head.weight.copy_(torch.stack((-direction, direction)) / spread)
        head.bias.copy_(-(head.weight @ pooled.mean(dim=0)))
    tiny.sdpa.save_pretrained(directory)
    return directory


def _measure(tiny: Tiny, harness: Harness, length: int, *, texts: int, repeats: int) -> Found:
    """Measure at one length: every quantity once per text and repeat, in turn."""
    log(f"{length} tokens: looking for the stock model's best batch ...")
    batch = _best_batch(tiny, length)
    log(f"{length} tokens: {batch} rows at once; recording {texts} explanations ...")
    subjects = [_record(harness, _text(tiny, length, seed), batch) for seed in range(texts)]
    assert all(subject.encoding.length == length for subject in subjects)
    seconds: dict[str, list[list[float]]] = {}
    stages: dict[str, list[float]] = {}
    walls: list[float] = []
    for repeat in range(repeats):
        log(f"{length} tokens: repeat {repeat + 1} of {repeats} ...")
        for number, subject in enumerate(subjects):
            for name, action in _actions(tiny, harness, subject).items():
                spent = seconds.setdefault(name, [[] for _ in subjects])[number]
                with _stopped(spent):
                    outcome = action()
                if isinstance(outcome, Explanation):
                    walls.append(outcome.timing.total_seconds)
                    for stage, spent_there in outcome.timing.stages:
                        stages.setdefault(stage, []).append(spent_there)
    typical = {name: [median(each) for each in per_text] for name, per_text in seconds.items()}

    def ratio(name: str, other: str) -> float:
        return median(a / b for a, b in zip(typical[name], typical[other], strict=True))

    log(f"{length} tokens: last-layer edits ...")
    last_layer, error = _last_layer(tiny, subjects[0], repeats)
    log(f"{length} tokens: rows by kind ...")
    return Found(
        tokens=length,
        rows=median(subject.rows for subject in subjects),
        looks=median(subject.looks for subject in subjects),
        explanation_ms=median(walls) * 1000,
        whole_ratio=ratio("explanation", "stock"),
        one_by_one_ratio=ratio("one by one", "explanation"),
        one_by_one_checks_ratio=ratio("checks one by one", "checks"),
        fan_out_efficiency=ratio("stock checks", "checks"),
        statistics_ms_per_look=1000
        * median(spent / subject.looks for spent, subject in zip(typical["statistics"], subjects, strict=True)),
        statistics_share=ratio("statistics", "explanation"),
        last_layer_ratio=last_layer,
        last_layer_error=error,
        stages_ms={stage: median(spent) * 1000 for stage, spent in stages.items()},
        efficiency_by_row=_by_kind(tiny, subjects[0], repeats),
    )


def _actions(tiny: Tiny, harness: Harness, subject: Subject) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    calls, encoding = subject.recording.calls, subject.encoding
    checked = sum(len(call.rows) for call in calls)

    def explain() -> Explanation:
        explanation = harness.explain(subject.text)
        replies.explain_response(explanation).SerializeToString()
        return explanation

    def replay() -> None:
        compute = harness.pipeline.compute
        recording = subject.recording
        harness.pipeline.compute = Replaying(
            compute=compute, encoding=recording.encoding, captured=recording.captured, calls=calls
        )
        try:
            replies.explain_response(harness.explain(subject.text)).SerializeToString()
        finally:
            harness.pipeline.compute = compute

    def run_checks() -> None:
        for call in calls:
            job = Job(arrived=time.monotonic())
            harness.runner.run(harness.dispatcher.run(job, "0", encoding, call.rows, MapOptions()))

    return {
        "explanation": explain,
        "stock": lambda: _stock(tiny, encoding, subject.rows, subject.stock_batch),
        "one by one": lambda: _stock(tiny, encoding, subject.rows, 1),
        "checks one by one": lambda: _stock(tiny, encoding, checked, 1),
        "checks": run_checks,
        "stock checks": lambda: _stock(tiny, encoding, checked, subject.stock_batch),
        "statistics": replay,
    }


def _record(harness: Harness, text: str, stock_batch: int) -> Subject:
    """Explain a text once, and remember what was run for it."""
    dispatcher = harness.pipeline.compute
    recording = Recording(compute=dispatcher)
    harness.pipeline.compute = recording
    try:
        explanation = harness.explain(text)
    finally:
        harness.pipeline.compute = dispatcher
    looks = harness.told.explanations[-1][1]
    return Subject(text=text, recording=recording, explanation=explanation, looks=looks, stock_batch=stock_batch)


def _text(tiny: Tiny, length: int, seed: int) -> str:
    """A text of so many tokens: words of one token each, and two special tokens around them."""
    tokenizer = tiny.backend._encoder.tokenizer
    known = sorted({word for line in CORPUS for word in line.split() if len(tokenizer(word)["input_ids"]) == 3})
    return " ".join(np.random.default_rng(seed).choice(known, size=length - 2))


@torch.no_grad()
def _stock(tiny: Tiny, encoding: Encoding, rows: int, batch: int) -> None:
    """Run so many copies of an input on the stock model, in batches."""
    while rows > 0:
        size = min(rows, batch)
        inputs = _copies(encoding, size)
        tiny.sdpa(
            input_ids=inputs.input_ids, attention_mask=inputs.attention_mask, token_type_ids=inputs.type_ids
        ).logits.double().numpy()
        rows -= size


def _copies(encoding: Encoding, count: int) -> Inputs:
    ids = torch.from_numpy(np.tile(encoding.input_ids, (count, 1)))
    types = torch.from_numpy(np.tile(encoding.type_ids, (count, 1)))
    return Inputs(input_ids=ids, attention_mask=torch.ones_like(ids), type_ids=types)


def _best_batch(tiny: Tiny, length: int) -> int:
    """Batch size with which the stock model reads most rows per second."""
    encoding = tiny.backend.encode(ask(_text(tiny, length, 0)).input)
    spent: dict[int, list[float]] = {batch: [] for batch in BATCHES if batch * length <= MAX_BATCH_TOKENS}
    for _ in range(5):
        for batch, seconds in spent.items():
            with _stopped(seconds):
                _stock(tiny, encoding, batch, batch)
    return min(spent, key=lambda batch: median(spent[batch]) / batch)


def _by_kind(tiny: Tiny, subject: Subject, repeats: int) -> dict[str, float]:
    """Rows per second of each kind of row, as a share of the stock model's in batches of the same size."""
    removed = np.arange(len(subject.encoding.units)) % 2 == 0
    kinds = {
        "untouched": Row(),
        "mask token": Row(removed=removed),
        "hidden keys": Row(removed=removed, operator=RemovalOperator.HIDDEN_KEYS),
        "uniform": Row(edit=AttentionEdit.UNIFORM),
        "identity": Row(edit=AttentionEdit.IDENTITY),
        "permuted": Row(edit=AttentionEdit.PERMUTED, seed=1),
    }
    engine, size = tiny.engine(), min(FAN_OUT_ROWS, max(4, subject.stock_batch))
    spent: dict[str, list[float]] = {name: [] for name in (*kinds, "stock")}
    for _ in range(repeats):
        with _stopped(spent["stock"]):
            _stock(tiny, subject.encoding, size, size)
        for name, row in kinds.items():
            with _stopped(spent[name]):
                engine.run("tiny", variants(subject.encoding, [row] * size))
    return {name: median(spent["stock"]) / median(spent[name]) for name in kinds}


def _last_layer(tiny: Tiny, subject: Subject, repeats: int) -> tuple[float, float]:
    """How many times faster permutations of the last layer are than as many forwards, and the largest difference.

    The difference is to the same edits run one by one through all layers, in logits.
    """
    layer, engine = tiny.backend.shape.layers - 1, tiny.engine()
    edits = [Row(edit=AttentionEdit.PERMUTED, seed=seed, layers=(layer,)) for seed in range(LAST_LAYER_EDITS)]
    rows = variants(subject.encoding, edits)
    ours: list[float] = []
    stock: list[float] = []
    found: list[RowResult] = []
    for _ in range(repeats):
        with _stopped(ours):
            found = engine.run("tiny", rows)
        with _stopped(stock):
            _stock(tiny, subject.encoding, ONE_BY_ONE, 1)
    backend = tiny.backend
    switches = backend.rows_join_late, backend.readout_row_suffices
    backend.rows_join_late = backend.readout_row_suffices = False
    try:
        alone = [engine.run("tiny", [row])[0] for row in rows[:COMPARED]]
    finally:
        backend.rows_join_late, backend.readout_row_suffices = switches
    error = max(float(np.abs(a.logits - b.logits).max()) for a, b in zip(found, alone, strict=False))
    return median(stock) / ONE_BY_ONE * LAST_LAYER_EDITS / median(ours), error


@contextmanager
def _stopped(seconds: list[float]) -> Iterator[None]:
    """Append the processor time of the block, of all threads."""
    started = time.process_time()
    yield
    seconds.append(time.process_time() - started)


def machine(threads: int) -> dict[str, str]:
    """What the numbers were measured on."""
    return {
        "processors": f"{len(os.sched_getaffinity(0))} CPU cores, {threads} of them computing",
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def table(found: Sequence[Found], threads: int) -> str:
    """Lay the numbers out in Markdown."""
    columns = [_column(each) for each in found]
    heads = ["measure", *(f"{each.tokens} tokens" for each in found)]
    body = [[name, *(column[name] for column in columns)] for name in columns[0]]
    lines = [heads, ["---"] * len(heads), *body]
    facts = ", ".join(f"{name} {value}" for name, value in machine(threads).items())
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", f"Measured with {facts}."])


def _column(found: Found) -> dict[str, str]:
    """One length's numbers, in words."""
    return {
        "rows of one explanation": f"{found.rows:.0f}",
        "looks": f"{found.looks:.0f}",
        "explanation, wall time": f"{found.explanation_ms:.0f} ms",
        "explanation / its rows on the stock model, best batches (target: at most 1.2)": f"{found.whole_ratio:.2f}",
        "its rows on the stock model one by one / explanation": f"{found.one_by_one_ratio:.2f}",
        "the rows of its checks on the stock model one by one / its checks": f"{found.one_by_one_checks_ratio:.2f}",
        "rows/s of its checks / rows/s of the stock model (target: at least 0.90)": f"{found.fan_out_efficiency:.2f}",
        "everything but the model, per look": f"{found.statistics_ms_per_look:.1f} ms",
        "everything but the model / explanation": f"{found.statistics_share:.3f}",
        f"{LAST_LAYER_EDITS} last-layer permutations: as many forwards one by one / ours (target: at least 100)": (
            f"{found.last_layer_ratio:.0f}"
        ),
        "largest difference in logits to the same edits one by one through all layers": f"{found.last_layer_error:.1e}",
        **{f"stage {stage}": f"{spent:.1f} ms" for stage, spent in found.stages_ms.items()},
        **{f"rows/s, {kind} / stock model": f"{share:.2f}" for kind, share in found.efficiency_by_row.items()},
    }


if __name__ == "__main__":
    raise SystemExit(main())
