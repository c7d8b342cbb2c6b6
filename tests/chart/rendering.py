"""Renders the chart with Helm's own engine (its Go SDK, by a Python package) into plain objects."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import helm_python
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "rollcall"
SETS = {file.stem: yaml.safe_load(file.read_text()) for file in sorted((CHART / "ci").glob("*.yaml"))}
"""The sets of values that the chart is tried with."""
RELEASE = "prod"
NAMESPACE = "explaining"
DEMO = {"demo": True, "auth": {"dangerouslyServeAnyone": True}}

Object: TypeAlias = dict[str, Any]


def render(values: Mapping[str, Any], *, name: str = RELEASE) -> dict[str, str]:
    """Render into text by template; raises helm_python.HelmError where Helm refuses the values."""
    with helm_python.Chart.load(CHART) as chart:
        return chart.render(dict(values), name=name, namespace=NAMESPACE)


def objects(values: Mapping[str, Any], *, name: str = RELEASE) -> list[Object]:
    """Render into objects, those of hooks included."""
    texts = [text for path, text in render(values, name=name).items() if path.endswith(".yaml")]
    return [found for text in texts for found in yaml.safe_load_all(text) if found]


@cache
def rendered(name: str) -> tuple[Object, ...]:
    """Objects of one of SETS."""
    return tuple(objects(SETS[name]))


def of_kind(found: tuple[Object, ...] | list[Object], kind: str) -> list[Object]:
    """Those of a kind."""
    return [item for item in found if item["kind"] == kind]


def pods(found: tuple[Object, ...] | list[Object]) -> list[Object]:
    """Every pod that comes of it: templates and the pod of `helm test`, as metadata and spec."""
    return [item["spec"]["template"] if item["kind"] == "Deployment" else item for item in found if _has_pod(item)]


def containers(pod: Object) -> list[Object]:
    """All containers of a pod, those that run first included."""
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


def settings_of(found: tuple[Object, ...] | list[Object]) -> str:
    """The service's settings file."""
    (text,) = [item["data"]["rollcall.toml"] for item in of_kind(found, "ConfigMap") if "rollcall.toml" in item["data"]]
    return str(text)


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay changes over values, as Helm does."""
    whole = dict(values)
    for key, change in changes.items():
        deep = isinstance(change, dict) and isinstance(whole.get(key), dict)
        whole[key] = merged(whole[key], change) if deep else change
    return whole


def _has_pod(item: Object) -> bool:
    return item["kind"] in {"Deployment", "Pod"}
