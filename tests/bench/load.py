"""Many concurrent clients against a real server on loopback, for a bounded time: `python -m tests.bench.load`.

Every client explains or predicts in a loop. Any error ends the run with exit code 1. Latencies are shown for
orientation only; what counts is that nobody sees an error and that the same request keeps its verdict.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rollcall.demo.server import server_process
from rollcall.demo.tour import SENTENCES
from rollcall_client import AsyncClient, RollcallError

PREDICT_EVERY = 4
"""Every so many-th client predicts; the others explain."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What the clients saw: latencies in seconds by method, errors, and every verdict that each sentence got."""

    predict: list[float] = field(default_factory=list)
    explain: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    verdicts: dict[str, set[str]] = field(default_factory=dict)


async def client_loop(target: str, number: int, until: float, tally: Tally, patience: float) -> None:
    """Ask again and again until the time is over."""
    async with AsyncClient(target, timeout=patience, retries=0) as client:
        turn = number
        while time.monotonic() < until:
            _, text = SENTENCES[turn % len(SENTENCES)]
            turn += 1
            started = time.monotonic()
            try:
                if number % PREDICT_EVERY == 0:
                    await client.predict(text)
                    tally.predict.append(time.monotonic() - started)
                else:
                    explanation = await client.explain(text)
                    tally.explain.append(time.monotonic() - started)
                    alignment = explanation.verdict.alignment
                    seen = (
                        f"{explanation.flag.name} {explanation.reason.name} {alignment.value if alignment else None!r}"
                    )
                    tally.verdicts.setdefault(text, set()).add(seen)
            except RollcallError as error:
                tally.errors.append(f"{type(error).__name__}: {error}")


async def run_clients(target: str, clients: int, seconds: float, patience: float) -> Tally:
    """Run all clients for `seconds`."""
    tally = Tally()
    until = time.monotonic() + seconds
    loops = [client_loop(target, number, until, tally, patience) for number in range(clients)]
    await asyncio.gather(*loops)
    return tally


def summary(tally: Tally, seconds: float) -> dict[str, object]:
    """Counts, rates and quantiles."""

    def quantiles(values: list[float]) -> dict[str, float]:
        if len(values) < 2:
            return {"count": len(values)}
        cuts = statistics.quantiles(values, n=100)
        return {"count": len(values), "per_second": len(values) / seconds, "p50_s": cuts[49], "p99_s": cuts[98]}

    return {
        "predict": quantiles(tally.predict),
        "explain": quantiles(tally.explain),
        "errors": len(tally.errors),
        "first_errors": tally.errors[:5],
        "sentences_with_more_than_one_verdict": sum(len(seen) > 1 for seen in tally.verdicts.values()),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command's options."""

    clients: int
    seconds: float
    timeout: float
    json: Path | None


def main() -> int:
    """Run the load and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=100, help="concurrent clients (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default %(default)s)")
    parser.add_argument("--timeout", type=float, default=120.0, help="deadline of each call (default %(default)s s)")
    parser.add_argument("--json", type=Path, help="also write the summary to this file")
    options = Options(**vars(parser.parse_args()))
    with server_process("--demo") as server:
        print(f"{options.clients} clients for {options.seconds:g} s against {server.target} ...", file=sys.stderr)
        tally = asyncio.run(run_clients(server.target, options.clients, options.seconds, options.timeout))
        code = server.stop()
    report = {
        **{k: v for k, v in asdict(options).items() if k != "json"},
        **summary(tally, options.seconds),
        "exit_code": code,
    }
    text = json.dumps(report, indent=1)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n")
    failed = tally.errors or code or report["sentences_with_more_than_one_verdict"] or not tally.explain
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
