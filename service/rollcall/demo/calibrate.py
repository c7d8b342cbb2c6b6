"""Calibrate a model's flags on held-out inputs.

    python -m rollcall.demo.calibrate --model DIRECTORY --data FILE.tsv --task "..." --out FILE.json

The looks are the service's own, run to the end by the service's own checker; the truth A* of each map comes from 512 or
more further removals (all subsets for up to 10 units). Half of the inputs calibrate, the others check the promise on
inputs never seen.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import hashlib
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from rollcall.admission.budget import Budget
from rollcall.backends.base import CaptureRequest, variants
from rollcall.checks.alignment import estimate_effects
from rollcall.checks.base import Subject
from rollcall.domain.decision import Decision
from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import DEFAULT_MAPS, Floats, MapKind, MapOptions
from rollcall.domain.policy import Policy
from rollcall.domain.rows import Row, RowResult
from rollcall.domain.seeds import random_words
from rollcall.domain.verdicts import Flag, Reason
from rollcall.engine.engine import Engine
from rollcall.models.loading import load_model
from rollcall.monitor.tally import Tally
from rollcall.pipeline.checking import Checker
from rollcall.pipeline.explain import default_seed
from rollcall.pipeline.stopwatch import Stopwatch
from rollcall.verdict.policies import STANDARD
from rollcall.verdict.scan import Outcome, Promise, Recorded, outcome_at, scan
from rollcall.verdict.truth import (
    EXHAUSTIVE_UNITS,
    MOST_TRUTH_ROWS,
    TRUTH_LAMBDA,
    TRUTH_ROWS,
    Truth,
    clear,
    judge_truth,
    truth_removals,
)

ENDLESS = (9.0, 9.0, 9.0)
"""Widths at which no map is ever decided, so that every look is run."""
NAME = "model"
BATCH_TOKENS = 512
"""Tokens of the batches that rows are run in: as fast as any on a processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Laboratory:
    """One model, run without a server."""

    engine: Engine
    policy: Policy

    def run(self, subject: Subject, rows: list[Row]) -> list[RowResult]:
        """Run rows in chunks."""
        encoding = subject.encoding
        batch = variants(encoding, rows)
        size = max(1, BATCH_TOKENS // encoding.length)
        return [result for i in range(0, len(batch), size) for result in self.engine.run(NAME, batch[i : i + size])]

    def record(self, text: str) -> Recorded | None:
        """Run all looks on one text and find the truth; None where removals do not move the decision."""
        backend = self.engine.models[NAME].backend
        encoding = backend.encode(TextInput(text=text))
        captured = self.engine.capture(
            NAME,
            encoding,
            CaptureRequest(
                maps=frozenset(DEFAULT_MAPS),
                options=MapOptions(),
                decide=lambda logits: Decision(task=backend.task, target=int(np.argmax(logits))),
                attention=None,
            ),
        )
        endless = replace(self.policy, widths=ENDLESS)
        seed = default_seed(encoding, self.policy)
        subject = Subject(encoding=encoding, decision=captured.decision, base=captured.row, seed=seed, policy=endless)

        async def run(rows: list[Row]) -> list[RowResult]:
            return self.run(subject, rows)

        checker = Checker(
            subject=subject,
            maps=captured.maps,
            primary=MapKind.GRADIENT_ROLLOUT,
            attention_is_uniform=captured.attention_is_uniform,
            calibration=None,
            budget=Budget(max_rows=10**9, deadline=None, clock=time.monotonic, estimate=lambda _: 0.0),
            run=run,
            stopwatch=Stopwatch(),
        )
        checked = asyncio.run(checker.check())
        if any(found.ruling.reason is Reason.NO_EFFECT for found in checked.maps) or subject.n == 1:
            return None
        weights = {unit_map.kind: unit_map.scores for unit_map in captured.maps}
        return Recorded(units=subject.n, trace=checked.trace, truths=self._truths(subject, weights))

    def _truths(self, subject: Subject, weights: dict[MapKind, Floats]) -> dict[MapKind, Truth]:
        """A* of each map, from ever more removals while any is unclear."""
        rows, margins = TRUTH_ROWS, np.zeros(0)
        while True:
            removed, operators = truth_removals(subject.n, rows, subject.seed)
            fresh = [Row(removed=r, operator=o) for r, o in zip(removed, operators, strict=True)][len(margins) :]
            margins = np.concatenate([margins, subject.margins(self.run(subject, fresh))])
            estimate = estimate_effects(removed, operators, margins, lambdas=TRUTH_LAMBDA)
            truths = judge_truth(weights, estimate, self.policy)
            if clear(truths, self.policy) or subject.n <= EXHAUSTIVE_UNITS or rows >= MOST_TRUTH_ROWS:
                return truths
            rows *= 2


def rates(records: list[Recorded], outcomes: list[Outcome], policy: Policy, primary: MapKind) -> dict[str, object]:
    """How often flags stood and were wrong, for the primary and the recommended map, and over all maps by flag."""
    report: dict[str, object] = {
        "inputs": len(records),
        "mean_removals": float(np.mean([o.removals for o in outcomes])),
    }
    chosen = {
        "primary": [(r, primary, o.rulings[primary].flag) for r, o in zip(records, outcomes, strict=True)],
        "recommended": [
            (r, o.recommended, Flag.FAITHFUL) for r, o in zip(records, outcomes, strict=True) if o.recommended
        ],
        "all_maps": [
            (r, kind, o.rulings[kind].flag) for r, o in zip(records, outcomes, strict=True) for kind in o.rulings
        ],
    }
    for name, cases in chosen.items():
        for flag in (Flag.FAITHFUL, Flag.UNFAITHFUL):
            flagged = [record.truths[kind] for record, kind, given in cases if given is flag and kind is not None]
            wrong = sum(truth.contradicts(flag, policy) for truth in flagged)
            far = sum(t.alignment < 0.3 if flag is Flag.FAITHFUL else t.alignment >= 0.7 for t in flagged)  # noqa: PLR2004 - DESIGN section 2
            report[f"{name}_{flag.value}"] = {
                "flags": len(flagged),
                "wrong": wrong,
                "far_wrong": far,
                "interval_95": list(Tally(checked=len(flagged), wrong=wrong).interval),
            }
    return report


def read_texts(path: Path) -> list[str]:
    """Texts of a tab-separated file with a header line; the column is called "text" or "sentence"."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        column = next((name for name in ("text", "sentence") if name in (rows.fieldnames or ())), None)
        if column is None:
            message = f"{path}: expected a column called text or sentence, found {rows.fieldnames}"
            raise SystemExit(message)
        return [row[column] for row in rows]


def main() -> int:
    """Calibrate and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="directory of the model")
    parser.add_argument("--data", type=Path, required=True, help="held-out texts, tab-separated, with a header line")
    parser.add_argument("--out", type=Path, required=True, help="calibration file to write")
    parser.add_argument("--task", required=True, help='what the inputs are, e.g. "English movie review sentences"')
    parser.add_argument(
        "--inputs", type=int, default=300, help="inputs with reach to calibrate on, and as many to check on"
    )
    parser.add_argument("--dtype", default="float32", help="precision that the model is served in (default float32)")
    parser.add_argument("--alpha", type=float, default=0.05, help="largest share of answers with a wrong flag")
    parser.add_argument("--confidence", type=float, default=0.9, help="confidence of the promise")
    parser.add_argument("--seed", type=int, default=0, help="which texts are taken")
    arguments = parser.parse_args()
    model = load_model(arguments.model, dtype=arguments.dtype)
    laboratory = Laboratory(engine=Engine(models={NAME: model}), policy=STANDARD)
    texts = read_texts(arguments.data)
    order = np.argsort(random_words(arguments.seed, "texts", (len(texts),)), kind="stable")
    records: list[Recorded] = []
    started, tried = time.monotonic(), 0
    for index in order:
        tried += 1
        record = laboratory.record(texts[index])
        if record is not None:
            records.append(record)
        if tried % 20 == 0 or len(records) == 2 * arguments.inputs:
            seconds = time.monotonic() - started
            print(
                f"{len(records)}/{2 * arguments.inputs} inputs with reach of {tried}, {seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )
        if len(records) == 2 * arguments.inputs:
            break
    half = len(records) // 2
    primary = best_map(records[:half])
    promises = scan(records[:half], STANDARD, primary, alpha=arguments.alpha, confidence=arguments.confidence)
    calibration = describe(arguments, model.digest, records, tried, primary, promises.c)
    calibration["promises"] = {
        "expected": _named(promises.expected),
        "confident": _named(promises.confident),
    }
    arguments.out.write_text(json.dumps(calibration, indent=1) + "\n")
    print(json.dumps(calibration, indent=1))
    return 0


def best_map(records: list[Recorded]) -> MapKind:
    """The map that is right most often, which becomes the primary map."""
    return max(
        DEFAULT_MAPS,
        key=lambda kind: sum(record.truths[kind].alignment >= STANDARD.alignment_threshold for record in records),
    )


def _named(promises: tuple[Promise, Promise]) -> dict[str, dict[str, object]]:
    return {name: asdict(promise) for name, promise in zip(("primary", "recommended"), promises, strict=True)}


def describe(
    arguments: argparse.Namespace, digest: str, records: list[Recorded], tried: int, primary: MapKind, c: float | None
) -> dict[str, object]:
    """All that the calibration file says, except the promises' details."""
    half = len(records) // 2
    lengths = [record.units for record in records[:half]]
    held_out = records[half:]
    used = "calibrated" if c is not None else "default"
    check = rates(
        held_out,
        [outcome_at(r, STANDARD.widths[-1] if c is None else c, STANDARD) for r in held_out],
        STANDARD,
        primary,
    )
    identity = hashlib.sha256(
        f"{digest}{STANDARD.digest}{arguments.data.name}{arguments.seed}{c}".encode()
    ).hexdigest()[:12]
    statement = (
        f"For inputs like the calibration set ({arguments.task}), lengths {min(lengths)} to {max(lengths)} words, with "
        f"{arguments.confidence:.0%} confidence at most {arguments.alpha:.0%} of answers carry a flag that contradicts "
        "this model's own effects (two removal operators, additive effects); of FAITHFUL flags "
        f"{_share(check['all_maps_faithful'])}, of UNFAITHFUL {_share(check['all_maps_unfaithful'])} were wrong on "
        "held-out data."
    )
    return {
        "format": 1,
        "id": f"{arguments.data.resolve().parent.name}-{arguments.data.stem}-{identity}",
        "model_digest": digest,
        "dtype": arguments.dtype,
        "policy_id": STANDARD.id,
        "policy_digest": STANDARD.digest,
        "c": c,
        "alpha": arguments.alpha,
        "confidence": arguments.confidence,
        "inputs": half,
        "tried": tried,
        "shortest": min(lengths),
        "longest": max(lengths),
        "primary_map": primary.value,
        "statement": statement
        if c is not None
        else "FAILED: no width kept the promise; the policy's default widths hold.",
        "widths": used,
        "seed": arguments.seed,
        "data": {
            "name": f"{arguments.data.resolve().parent.name}/{arguments.data.name}",
            "sha256": hashlib.sha256(arguments.data.read_bytes()).hexdigest(),
        },
        "truly_right": {
            kind.value: float(np.mean([r.truths[kind].alignment >= STANDARD.alignment_threshold for r in records]))
            for kind in DEFAULT_MAPS
        },
        "held_out": check,
    }


def _share(flags: object) -> str:
    counts = flags if isinstance(flags, dict) else {}
    return f"{counts['wrong'] / max(1, counts['flags']):.1%}"


if __name__ == "__main__":
    raise SystemExit(main())
