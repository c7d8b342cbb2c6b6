"""The dashboards that ship are what Python makes of them, and keep what operators expect of every dashboard."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_alerts import metrics_of, rules, served

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "helm" / "rollcall" / "dashboards").glob("*.json"))
BOARDS: dict[str, dict[str, Any]] = {file.stem: json.loads(file.read_text()) for file in FILES}
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
MOST_BYTES = 1024 * 1024
"""Of a ConfigMap."""
WIDELY_IMPORTED = 41
"""The schema version up to which old and new Grafana import a dashboard."""
RECORDED = {rule["record"] for rule in rules("record")}


def test_dashboards_are_what_is_generated() -> None:
    """Nobody edits the JSON; who changes the Python writes it anew."""
    done = subprocess.run(
        [sys.executable, "-m", "helm.generate", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_dashboards_fit_into_a_config_map() -> None:
    """All three travel in one."""
    assert len(FILES) == 3
    assert sum(file.stat().st_size for file in FILES) < MOST_BYTES / 2


@pytest.mark.parametrize("name", BOARDS)
def test_dashboards_belong_to_no_installation(name: str) -> None:
    """Source, namespace, job, instance and model are the reader's choice; the three link to each other."""
    board = BOARDS[name]
    assert board["uid"] == f"rollcall-{name}"
    assert (board["editable"], board["refresh"], board["tags"]) == (False, "30s", ["rollcall"])
    assert board["schemaVersion"] <= WIDELY_IMPORTED
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert list(variables) == ["datasource", "namespace", "job", "instance", "model"]
    assert variables["datasource"]["query"] == "prometheus"
    assert all(v["multi"] and v["includeAll"] and v["allValue"] == ".*" for v in list(variables.values())[1:])
    assert [link["tags"] for link in board["links"]] == [["rollcall"]]


@pytest.mark.parametrize("panel", PANELS)
def test_panels_explain_themselves(panel: dict[str, Any]) -> None:
    """Each has a title, a sentence, a unit, the reader's data source, and few questions."""
    assert panel["title"]
    assert re.fullmatch(r"[A-Z].{8,}\.", panel["description"])
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "$datasource"}
    assert 1 <= len(panel["targets"]) <= 4
    for target in panel["targets"]:
        assert re.search(r"namespace=~\"\$namespace\"|rollcall:slo_objective", target["expr"])
        assert target["legendFormat"] or panel["type"] == "table"


@pytest.mark.parametrize("panel", PANELS)
def test_panels_ask_well(panel: dict[str, Any]) -> None:
    """Rates are over Grafana's interval and summed afterwards, and what is asked for exists."""
    for target in panel["targets"]:
        expr = target["expr"]
        assert set(re.findall(r"rate\([^[]*\[(.*?)\]", expr)) <= {"$__rate_interval"}
        assert not re.search(r"rate\s*\(\s*(sum|max|avg)", expr)
        assert metrics_of(expr) <= served()
        assert set(re.findall(r"rollcall:[\w:]+", expr)) <= RECORDED
