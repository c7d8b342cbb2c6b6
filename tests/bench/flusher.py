"""Appends to a file and flushes it, again and again, and prints what each took: `python flusher.py FILE BYTES SECONDS`.

A process of its own with the standard library alone, beside what is measured: it sees the same disk and the same other
work on the machine, and nothing of ours.
"""

from __future__ import annotations

import json
import os
import sys
import time

PER_SECOND = 20.0


def flush(path: str, size: int, seconds: float) -> list[float]:
    """Give the seconds of each append with its flush."""
    spent, data, started, number = [], b"x" * size, time.perf_counter(), 0
    with open(path, "wb", buffering=0) as file:  # noqa: PTH123 - as little as can be
        while time.perf_counter() - started < seconds:
            begun = time.perf_counter()
            file.write(data)
            os.fdatasync(file.fileno())
            spent.append(time.perf_counter() - begun)
            number += 1
            time.sleep(max(0.0, started + number / PER_SECOND - time.perf_counter()))
    return spent


if __name__ == "__main__":
    print(json.dumps(flush(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
