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
from itertools import product
from pathlib import Path

import numpy as np
from scipy.special import betaincinv

from rollcall.admission.budget import Budget
from rollcall.backends.base import CaptureRequest, variants
from rollcall.checks.alignment import alignment_value, estimate_effects
from rollcall.checks.base import OPERATORS, Subject
from rollcall.domain.decision import Decision
from rollcall.domain.inputs import TextInput
from rollcall.domain.maps import DEFAULT_MAPS, Bools, Floats, MapKind, MapOptions
from rollcall.domain.policy import Policy
from rollcall.domain.rows import RemovalOperator, Row, RowResult
from rollcall.domain.seeds import random_words
from rollcall.domain.verdicts import Flag, Reason
from rollcall.engine.engine import Engine
from rollcall.models.loading import load_model
from rollcall.pipeline.checking import Checker
from rollcall.pipeline.explain import default_seed
from rollcall.pipeline.stopwatch import Stopwatch
from rollcall.verdict.policies import STANDARD
from rollcall.verdict.scan import Outcome, Promise, Recorded, Truth, outcome_at, scan

ENDLESS = (9.0, 9.0, 9.0)
"""Widths at which no map is ever decided, so that every look is run."""
TRUTH_ROWS, MOST_TRUTH_ROWS = 512, 4096
TRUTH_LAMBDA = np.array([0.1])
EXHAUSTIVE_UNITS = 10
POSTERIOR_DRAWS = 200
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
        """A* of each map, from ever more removals while any is within two standard errors of the threshold."""
        rows = TRUTH_ROWS
        while True:
            removed, operators = truth_removals(subject.n, rows, subject.seed)
            results = self.run(subject, [Row(removed=r, operator=o) for r, o in zip(removed, operators, strict=True)])
            margins = np.array([subject.decision.margin(result.logits) for result in results])
            estimate = estimate_effects(removed, operators, margins, lambdas=TRUTH_LAMBDA)
            if estimate is None:
                return {kind: Truth(alignment=0.0, omits_top_effect=False) for kind in weights}
            values = {
                kind: alignment_value(map_weights, estimate.effects) or 0.0 for kind, map_weights in weights.items()
            }
            draws = np.random.default_rng(0).multivariate_normal(
                estimate.effects, estimate.covariance, POSTERIOR_DRAWS, method="eigh"
            )
            errors = {
                kind: float(np.std([alignment_value(map_weights, draw) or 0.0 for draw in draws]))
                for kind, map_weights in weights.items()
            }
            threshold = self.policy.alignment_threshold
            unclear = any(abs(values[kind] - threshold) < 2 * errors[kind] for kind in weights)
            if not unclear or subject.n <= EXHAUSTIVE_UNITS or rows >= MOST_TRUTH_ROWS:
                break
            rows *= 2
        top = int(np.argmax(estimate.effects))
        limit = self.policy.negligible_share / subject.n
        return {
            kind: Truth(alignment=values[kind], omits_top_effect=bool(map_weights[top] < limit))
            for kind, map_weights in weights.items()
        }


def truth_removals(n: int, rows: int, seed: int) -> tuple[Bools, tuple[RemovalOperator, ...]]:
    """Removals behind A*: each unit with probability 1/2, operators half each; all subsets for few units."""
    if n <= EXHAUSTIVE_UNITS:
        subsets = np.array(list(product((False, True), repeat=n)), dtype=np.bool_)
        return np.repeat(subsets, len(OPERATORS), axis=0), OPERATORS * len(subsets)
    removed = random_words(seed, "truth", (rows, n)) >= np.uint64(2**63)
    return removed, tuple(OPERATORS[i % len(OPERATORS)] for i in range(rows))


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
                "interval_95": [_bound(wrong, len(flagged), 0.025), _bound(wrong, len(flagged), 0.975)],
            }
    return report


def _bound(successes: int, trials: int, probability: float) -> float:
    """Exact (Clopper-Pearson) bound of a share."""
    lower = probability < 0.5  # noqa: PLR2004 - the lower bound
    if trials == 0 or (lower and successes == 0) or (not lower and successes == trials):
        return 0.0 if lower else 1.0
    return float(betaincinv(successes + (not lower), trials - successes + lower, probability))


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
