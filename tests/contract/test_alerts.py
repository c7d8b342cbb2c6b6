"""The alert rules that ship fire when they must, stay quiet when they must not, and use metrics that exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

import rollcall
from rollcall.telemetry.metrics import Metrics

RULES = Path(rollcall.__file__).parent / "telemetry" / "alerts.yaml"
TESTS = Path(__file__).with_name("alerts.test.yaml")
PROMTOOL = shutil.which("promtool")


def test_alerts_use_metrics_that_exist() -> None:
    """A metric that is renamed takes its alerts along, or this fails."""
    exposition = Metrics(CollectorRegistry(), models=["m"], default_model="m").exposition().decode()
    served = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(exposition)
    }
    expressions = re.sub(r"^ *#.*$", "", RULES.read_text(), flags=re.MULTILINE)
    used = set(re.findall(r"\brollcall_\w+", expressions))
    assert used
    assert used <= served


@pytest.mark.skipif(
    PROMTOOL is None and os.environ.get("CI") != "true",
    reason="PROMTOOL IS MISSING, the alerts are not tested: install it (Debian: apt-get install prometheus)",
)
@pytest.mark.parametrize(("command", "file"), [("check", RULES), ("test", TESTS)])
def test_promtool_agrees(command: str, file: Path) -> None:
    """Prometheus's own tool accepts the rules, and each fires and stays quiet as its tests say."""
    assert PROMTOOL is not None, "promtool must be on PATH in CI (Debian: apt-get install prometheus)"
    done = subprocess.run([PROMTOOL, command, "rules", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, "FAILED" in done.stdout + done.stderr) == (0, False), done.stdout + done.stderr
