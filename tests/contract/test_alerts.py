"""The alert rules that ship fire when they must, stay quiet when they must not, and use metrics that exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from rollcall.settings import KEYS
from rollcall.telemetry.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "helm" / "rollcall" / "rules").glob("*.yaml"))
TESTS = sorted(Path(__file__).with_name("alerts").glob("*.test.yaml"))
RUNBOOKS = ROOT / "docs" / "runbooks"
PROMTOOL = shutil.which("promtool")


def rules(kind: str) -> list[dict[str, Any]]:
    """All rules of a kind, "alert" or "record"."""
    files = (yaml.safe_load(file.read_text()) for file in RULES)
    return [rule for file in files for group in file["groups"] for rule in group["rules"] if kind in rule]


ALERTS = {rule["alert"]: rule for rule in rules("alert")}


def metrics_of(text: str) -> set[str]:
    """Names of our metrics in some PromQL or prose, as samples without a histogram's suffix."""
    return {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for name in re.findall(r"\b((?:rollcall|grpc_server)_\w+)(?![\w:])", text)
    }


def served() -> set[str]:
    """Names of the metrics that a server exposes."""
    exposition = Metrics(CollectorRegistry(), models=["m"], default_model="m").exposition().decode()
    return {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(exposition)
    }


def expectations() -> list[tuple[str, bool]]:
    """What the unit tests expect: the name of an alert, and whether it must fire."""
    found = []
    for scenario in (scenario for file in TESTS for scenario in yaml.safe_load(file.read_text())["tests"]):
        found += [(test["alertname"], bool(test["exp_alerts"])) for test in scenario.get("alert_rule_test", ())]
        for test in scenario.get("promql_expr_test", ()):
            found += [(name, bool(test["exp_samples"])) for name in re.findall(r'alertname="(\w+)"', str(test["expr"]))]
    return found


def test_rules_use_metrics_that_exist() -> None:
    """A metric that is renamed takes its alerts along, or this fails."""
    used = set().union(*(metrics_of(rule["expr"]) for rule in (*rules("alert"), *rules("record"))))
    assert used
    assert used <= served()


@pytest.mark.parametrize("fires", [True, False], ids=["fires", "stays quiet"])
def test_every_alert_is_tested_both_ways(fires: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """No alert ships of which nobody has seen that it fires, and that it does not."""
    assert {name for name, expected in expectations() if expected is fires} >= ALERTS.keys()


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_has_a_page(name: str) -> None:
    """Whoever is woken finds what it means, what to ask first, what to do, and whom to wake next."""
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
    page = (RUNBOOKS / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    for part in ("**Meaning.**", "**Impact.**", "**First query.**", "**First actions.**", "**Escalate**"):
        assert part in page


def test_no_page_is_about_nothing() -> None:
    """A page goes with its alert."""
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == ALERTS.keys()


def test_pages_name_what_exists() -> None:
    """Metrics and settings that a page names are there, also in years."""
    pages = "\n".join(page.read_text() for page in RUNBOOKS.glob("*.md"))
    assert metrics_of(pages) <= served()
    sections = {key[0] for key in KEYS if key[1:]}
    named = {(a, b) for a, b in re.findall(r"`([a-z]+)\.([a-z_]+)\b(?!\.)", pages) if a in sections}
    assert named
    assert named <= KEYS.keys()


@pytest.mark.skipif(
    PROMTOOL is None and os.environ.get("CI") != "true",
    reason="PROMTOOL IS MISSING, the alerts are not tested: install it (Debian: apt-get install prometheus)",
)
@pytest.mark.parametrize(
    ("command", "file"),
    [*(("check", file) for file in RULES), *(("test", file) for file in TESTS)],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_promtool_agrees(command: str, file: Path) -> None:
    """Prometheus's own tool accepts the rules, and each fires and stays quiet as its tests say."""
    assert PROMTOOL is not None, "promtool must be on PATH in CI (Debian: apt-get install prometheus)"
    done = subprocess.run([PROMTOOL, command, "rules", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, "FAILED" in done.stdout + done.stderr) == (0, False), done.stdout + done.stderr


@pytest.mark.skipif(
    PROMTOOL is None and os.environ.get("CI") != "true",
    reason="PROMTOOL IS MISSING, the runbooks' queries are not parsed: install it (Debian: apt-get install prometheus)",
)
def test_queries_of_the_pages_parse(tmp_path: Path) -> None:
    """The first query can be pasted as it stands."""
    assert PROMTOOL is not None, "promtool must be on PATH in CI (Debian: apt-get install prometheus)"
    queries = {
        page.stem: re.findall(r"```promql\n(.*?)\n```", page.read_text(), flags=re.DOTALL)
        for page in RUNBOOKS.glob("*.md")
    }
    group = {"name": "pages", "rules": [{"record": name, "expr": query} for name, (query,) in queries.items()]}
    (tmp_path / "pages.yaml").write_text(yaml.safe_dump({"groups": [group]}))
    done = subprocess.run(
        [PROMTOOL, "check", "rules", str(tmp_path / "pages.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
