"""Kills a writing process again and again at random moments, and says what it was told to be safe by then.

`python -m tests.unit.audit.crashing DIRECTORY ROUNDS SEED` forks a child for each round, which writes records to a
spool and a log in DIRECTORY and reports each id that is flushed; the child dies by SIGKILL. In the end what is left in
the spool is taken in. Prints the acknowledged ids, one a line.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rollcall.audit.notes import Signer
from tests.unit.audit import samples
from tests.unit.audit.test_sequencer import desk

ORIGIN = "log.example/crashes"
WRITERS = 3
MOST_SECONDS = 0.4


def main(directory: Path, rounds: int, seed: int) -> None:
    """Run all rounds."""
    draw = random.Random(seed)  # noqa: S311 - moments to die at
    signer = Signer(name=ORIGIN, seed=bytes(32))
    for number in range(rounds):
        for record_id in _killed(directory, signer, number, draw.uniform(0.0, MOST_SECONDS)):
            print(record_id)  # noqa: T201 - what this program is for
    with desk(directory, signer):
        pass


def _killed(directory: Path, signer: Signer, number: int, seconds: float) -> Iterator[str]:
    """Let a child write for so long; yield what it was told to be safe."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _write(directory, signer, number * 1_000_000, writing)
    os.close(writing)
    with os.fdopen(reading) as told:
        first = told.readline()
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        lines = [first, *told]
    yield from (line.strip() for line in lines if line.endswith("\n"))


def _write(directory: Path, signer: Signer, start: int, told: int) -> None:
    """Write records until killed."""
    with desk(directory, signer) as at:

        def write(writer: int) -> None:
            for number in range(start + writer, start + 1_000_000, WRITERS):
                record = samples.accepted(number)
                at.spool.append(record.encode()).result()
                os.write(told, f"{record.record_id}\n".encode())

        writers = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
        for each in writers:
            each.start()
        for each in writers:
            each.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
