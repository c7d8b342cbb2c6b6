"""`python -m tests.fuzz --count 100000 --seed 1`: exit code 1 unless the server is blameless."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from tests.fuzz.cases import case
from tests.fuzz.run import fuzz
from tests.fuzz.serving import TOKEN, fuzzed_server, leaks


def main() -> int:
    """Run, and print what came back."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=100_000, help="how many cases (default %(default)s)")
    options.add_argument("--seed", type=int, default=1, help="of the first run (default %(default)s)")
    options.add_argument("--show", type=int, metavar="N", help="print case N, and send nothing")
    chosen = options.parse_args()
    if chosen.show is not None:
        print(case(chosen.seed, chosen.show))
        return 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, fuzzed_server(Path(scratch)) as server:
        findings = asyncio.run(fuzz(server, token=TOKEN, seed=chosen.seed, count=chosen.count))
        problems = [*findings.problems, *leaks(server)]
    for (method, code), count in sorted(findings.codes.items()):
        print(f"{count:8}  {method}  {code}")
    print(f"{chosen.count} cases in {time.monotonic() - started:.0f} s, memory {findings.rise_mib:+.1f} MiB")
    for problem in problems[:50]:
        print(problem)
    print(f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
