"""Values: every key is described, mistakes are refused wherever they are, and the table in the README is true."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import helm_python
import pytest
import yaml

from helm.generate.values import leaves
from tests.chart.rendering import CHART, SETS, merged, render

DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
FREE = {
    *("commonLabels", "commonAnnotations", "podLabels", "podAnnotations", "nodeSelector", "affinity", "strategy"),
    *("models", "config", "serviceAccount.annotations", "service.annotations", "tls.certManager.issuerRef"),
    *("podMonitor.labels", "serviceMonitor.labels", "rules.labels", "dashboards.labels", "dashboards.annotations"),
    *("resources.requests", "resources.limits"),
}
"""Tables whose keys are the operator's own."""


def tables(values: dict[str, Any], path: str = "") -> Iterator[str]:
    """Paths of all tables whose keys are the chart's."""
    yield path
    for key, value in values.items():
        inner = f"{path}.{key}".lstrip(".")
        if isinstance(value, dict) and inner not in FREE:
            yield from tables(value, inner)


def with_typo(path: str) -> dict[str, Any]:
    """Values with a key that nobody knows, in the table at a path."""
    values: dict[str, Any] = {"typo": 1}
    for key in reversed(path.split(".") if path else []):
        values = {key: values}
    return merged(SETS["minimal"], values)


@pytest.mark.parametrize("path", list(tables(DEFAULTS)))
def test_a_typing_mistake_is_refused(path: str) -> None:
    """At every level; the message has the key."""
    with pytest.raises(helm_python.HelmError, match="typo"):
        render(with_typo(path))


@pytest.mark.parametrize(
    ("name", "changes", "blamed"),
    [
        ("minimal", {"replicas": "three"}, "replicas"),
        ("minimal", {"image": {"tag": "latest"}}, "tag"),
        ("minimal", {"image": {"digest": "sha256:short"}}, "digest"),
        ("minimal", {"gpu": {"count": 2}}, "gpu/count"),
        ("minimal", {"resources": {"limits": {"memory": "4 GB"}}}, "memory"),
        ("minimal", {"autoscaling": {"mode": "both"}}, "mode"),
        ("minimal", {"autoscaling": {"mode": "keda"}}, "prometheus"),
        ("minimal", {"rules": {"objectives": {"availability": 99.9}}}, "availability"),
        ("minimal", {"config": {"grpc": {"port": 9000}}}, "port"),
        ("minimal", {"config": {"tls": {"key": "k"}}}, "tls"),
        ("minimal", {"config": {"auth": {"dangerously_serve_anyone": True}}}, "dangerously_serve_anyone"),
        ("minimal", {"config": {"devices": ["cpu", "cpu"]}}, "devices"),
        ("minimal", {"audit": {"enabled": True}}, "persistence"),
        ("minimal", {"persistence": {"enabled": True}, "replicas": 2}, "replicas"),
        ("minimal", {"persistence": {"enabled": True}, "autoscaling": {"mode": "hpa"}}, "mode"),
        ("minimal", {"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}}, "serviceMonitor"),
        ("minimal", {"tls": {"certManager": {"enabled": True}}}, "issuerRef"),
        ("cpu", {"models": {"fraud": {"path": "/etc"}}}, "path"),
        ("cpu", {"models": {"fraud": {"path": "a/../../etc"}}}, "path"),
        ("gpu", {"modelStore": {"init": {"manifestSha256": ""}}}, "manifestSha256"),
        ("gpu", {"modelStore": {"existingClaim": "models"}}, "existingClaim"),
        ("openshift", {"gpu": {"count": 1}}, "claims"),
    ],
)
def test_values_that_contradict_are_refused(name: str, changes: dict[str, Any], blamed: str) -> None:
    """Before anything is installed, and the message names what is wrong."""
    with pytest.raises(helm_python.HelmError, match=blamed):
        render(merged(copy.deepcopy(SETS[name]), changes))


def test_every_value_is_described() -> None:
    """Each key of values.yaml is in the schema with a sentence, and the schema describes none that is not there."""
    described = {path: text for path, text, _ in leaves()}
    assert all(described.values())
    assert set(described) == set(written(DEFAULTS, "", set(described)))


def written(values: dict[str, Any], path: str, described: set[str]) -> Iterator[str]:
    """Paths of values.yaml, down to where the schema describes them."""
    for key, value in values.items():
        inner = f"{path}.{key}".lstrip(".")
        if inner in described or not isinstance(value, dict):
            yield inner
        else:
            yield from written(value, inner, described)
