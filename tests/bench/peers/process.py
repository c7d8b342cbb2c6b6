"""One peer as a process that stays up: a line of JSON in, a line of JSON out, and never longer than it may take."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Any, Self

SCRIPTS = Path(__file__).parent / "scripts"
ANSWER_SECONDS = 600.0
STOP_SECONDS = 30.0
LAST_LINES = 12
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}


class PeerFailed(Exception):
    """A peer crashed, gave up or took too long; says what it wrote last."""


class PeerProcess:
    """A script of `scripts`, run by a Python of the peer's own environment. Use it in a `with` block."""

    def __init__(self, python: Path, script: str, work: Path) -> None:
        """Start it; what it and its libraries print goes to a log in `work`."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._log = work / f"{script}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(python), str(SCRIPTS / f"{script}.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=work,
                env={**environment, **ONE_THREAD},
                text=True,
            )

    def ask(self, operation: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - what JSON can hold
        """Have one operation done; raises PeerFailed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        bound = Timer(ANSWER_SECONDS, self._process.kill)
        bound.start()
        try:
            self._process.stdin.write(json.dumps({"do": operation, **fields}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            bound.cancel()
        if not line:
            tail = self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]
            raise PeerFailed("\n".join([f"no answer to {operation}; the end of its log:", *tail]))
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerFailed("\n".join(str(answer["error"]).splitlines()[-LAST_LINES:]))
        return answer

    def __enter__(self) -> Self:
        """Nothing: it runs already."""
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """End it: by closing its input, and by force where that does not help."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(STOP_SECONDS)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
