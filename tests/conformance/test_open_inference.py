"""Clients made for other servers predict and get flags here, and the flags are those of the native service."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from rollcall.demo.server import ServerProcess
from rollcall.edge.converters.oip.catalog import OUTPUTS
from rollcall_client import Client, Explanation
from tests.conformance.environments import ROOT, node_with, python_with

TEXTS = ("A wonderful, moving film with a great cast.", "The plot is thin.", "Awful from the first minute to the last.")
SCRIPTS = ROOT / "tests" / "conformance" / "scripts"
SECONDS = 120
TRITON = "tritonclient[grpc]==2.73.0"


def run(command: Sequence[object]) -> Any:  # noqa: ANN401 - JSON
    """Run a client's script; return what it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def native(server: ServerProcess) -> list[Explanation]:
    """Explain the texts through the native service, with the seed that the scripts ask for."""
    with Client(server.target, timeout=SECONDS) as client:
        return [client.explain(text, seed=7) for text in TEXTS]


def logits_agree(logits: Any, native: list[Explanation]) -> bool:  # noqa: ANN401 - nested lists
    """Whether logits [B, C] are those behind the native probabilities."""
    scores = np.exp(np.reshape(logits, (len(native), -1)))
    found = scores / scores.sum(axis=1, keepdims=True)
    return np.allclose(found, [explanation.prediction.probabilities for explanation in native], atol=1e-6)


def test_tritonclient(server: ServerProcess, native: list[Explanation]) -> None:
    """Every documented call works; predictions, scores, units and flags are the native service's."""
    found = run([python_with("triton", TRITON), SCRIPTS / "triton.py", server.target, *TEXTS])
    assert found["ready"] == [True, True, True]
    assert (found["absent"], found["server"], found["model"]) == (False, "rollcall", "demo")
    assert found["ids"] == ["plain", "explained"]
    assert found["labels"] == [explanation.prediction.predicted for explanation in native]
    assert logits_agree(found["logits"], native)
    assert found["flags"] == [explanation.flag.name for explanation in native]
    for scores, units, explanation in zip(found["scores"], found["units"], native, strict=True):
        n = len(explanation.units)
        primary = next(a for a in explanation.attributions if a.map is explanation.primary_map)
        assert scores[:n] == pytest.approx(primary.scores, abs=1e-6)
        assert units[:n] == [unit.text for unit in explanation.units]
        assert set(scores[n:]) <= {0.0}
        assert set(units[n:]) <= {""}
    alignments = [report["verdict"]["alignment"]["value"] for report in found["reports"]]
    assert alignments == [e.verdict.alignment.value for e in native if e.verdict.alignment]
    assert found["listed"] == found["configured"] == list(OUTPUTS)
    assert found["inferences"] == 2 * len(TEXTS)
    assert found["index"] == [{"name": "demo", "version": "1", "state": "READY"}]
    refusals = found["refusals"]
    assert {name: refusal["status"] for name, refusal in refusals.items()} == {
        "input_ids": "StatusCode.INVALID_ARGUMENT",
        "pixels": "StatusCode.INVALID_ARGUMENT",
        "load": "StatusCode.PERMISSION_DENIED",
    }
    assert "input_ids[0][0]" in refusals["input_ids"]["message"]


def test_the_readme_shows_what_works(server: ServerProcess) -> None:
    """The README's example runs as it stands, on another port."""
    (example,) = re.findall(r"^```py\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    command = [python_with("triton", TRITON), "-c", example.replace("127.0.0.1:8001", server.target)]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=SECONDS, check=True)
    assert re.fullmatch(r"\[b'positive' b'negative'\] \[b'[A-Z_]+' b'[A-Z_]+'\]\n", done.stdout)


def test_kserve(server: ServerProcess, native: list[Explanation]) -> None:
    """The kserve client predicts and gets flags, with raw and with typed contents."""
    found = run([python_with("kserve", "kserve==0.21.0"), SCRIPTS / "kserve_calls.py", server.target, *TEXTS])
    assert found["ready"] == [True, True, True]
    assert all(logits_agree(logits, native) for logits in found["logits"])
    assert found["flags"] == [[explanation.flag.name for explanation in native]] * 2
    assert found["refusal"] == "NOT_FOUND"


@pytest.mark.skipif(
    shutil.which("npm") is None and os.environ.get("CI") != "true",
    reason="NODE IS MISSING, @grpc/grpc-js is not tried: install it (Debian: apt-get install nodejs npm)",
)
def test_grpc_js(server: ServerProcess, native: list[Explanation]) -> None:
    """A JavaScript client reads our proto files as they are: predictions, flags, and the native stream."""
    modules = node_with("@grpc/grpc-js@1.14.7", "@grpc/proto-loader@0.8.1")
    found = run(["node", SCRIPTS / "calls.mjs", modules, ROOT / "protos", server.target, *TEXTS])
    assert found["names"] == ["logits", "rollcall.flag"]
    assert logits_agree(found["logits"], native)
    assert found["flags"] == [explanation.flag.name for explanation in native]
    assert found["refusal"] == 5
    assert found["streamed"] == [f"FLAG_{native[0].flag.name}"]
