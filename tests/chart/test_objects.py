"""What the chart renders is what Kubernetes takes, in five of its versions, the same each time."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import helm_python
import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.chart.rendering import CHART, DEMO, NAMESPACE, SETS, Object, objects, of_kind, render, rendered

VERSIONS = ("1.29", "1.32", "1.34", "1.36", "1.37")
GOLDEN = Path(__file__).with_name("golden")
OPERATORS = {"monitoring.coreos.com/v1", "keda.sh/v1alpha1", "cert-manager.io/v1"}
"""Kinds that Kubernetes itself does not have."""
SINCE = {"openshift": "1.34"}
"""Sets of values that need a newer Kubernetes: resource claims."""
CRD_SCHEMAS = os.environ.get("CRD_SCHEMAS", "")
"""A directory with KIND_VERSION.json below GROUP/, as public catalogues of CRD schemas are laid out."""


@pytest.mark.parametrize("name", SETS)
def test_helm_finds_nothing_to_complain_of(name: str) -> None:
    """Strict lint is clean."""
    findings = helm_python.lint(CHART, SETS[name], strict=True, namespace=NAMESPACE)
    assert [message for message in findings["messages"] if "icon is recommended" not in str(message)] == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", SETS)
def test_kubernetes_takes_every_object(name: str, version: str) -> None:
    """No key is misspelt, missing, of the wrong type, or gone from this version of Kubernetes."""
    for item in rendered(name) if version >= SINCE.get(name, "") else ():
        if item["apiVersion"] not in OPERATORS:
            kubernetes_validate.validate(item, version, strict=True)


def test_a_mistake_would_be_found() -> None:
    """The check above can fail."""
    (deployment,) = of_kind(objects(DEMO), "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[0], strict=True)


@pytest.mark.skipif(not CRD_SCHEMAS, reason="NO SCHEMAS OF CRDS, operators' kinds are not checked: set CRD_SCHEMAS")
@pytest.mark.parametrize("name", SETS)
def test_operators_take_their_objects(name: str) -> None:
    """PodMonitor, ServiceMonitor, PrometheusRule, ScaledObject and Certificate are as their operators expect."""
    for item in rendered(name):
        if item["apiVersion"] in OPERATORS:
            group, version = item["apiVersion"].split("/")
            schema = json.loads((Path(CRD_SCHEMAS) / group / f"{item['kind'].lower()}_{version}.json").read_text())
            jsonschema.validate(item, schema)


@pytest.mark.parametrize("name", SETS)
def test_rendering_is_as_before(name: str) -> None:
    """Every change of an object is seen in a review: `UPDATE_GOLDEN=1 pytest tests/chart` writes them anew."""
    golden = GOLDEN / f"{name}.yaml"
    text = yaml.safe_dump_all([shortened(item) for item in rendered(name)], sort_keys=False, width=120)
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert golden.read_text() == text


def shortened(item: Object) -> Object:
    """Leave out what has a file and tests of its own: rules and dashboards."""
    if item["kind"] == "PrometheusRule":
        names = {group["name"]: len(group["rules"]) for group in item["spec"]["groups"]}
        return {**item, "spec": {"groups": names}}
    if item["metadata"]["name"].endswith("-dashboards"):
        return {**item, "data": dict.fromkeys(item["data"], "...")}
    return item


@pytest.mark.parametrize("name", SETS)
def test_rendering_twice_is_the_same(name: str) -> None:
    """Nothing is random, nothing has a date: a GitOps controller sees no change where there is none."""
    assert render(SETS[name]) == render(SETS[name])


def test_names_are_unique_and_belong_to_the_release() -> None:
    """Two releases live in one namespace; every object says in which."""
    for values in SETS.values():
        identities = [{key(item) for item in objects(values, name=name) if not _foreign(item)} for name in ("a", "b")]
        assert not identities[0] & identities[1]
    for name in SETS:
        assert len({key(item) for item in rendered(name)}) == len(rendered(name))
        assert {item["metadata"]["namespace"] for item in rendered(name)} == {NAMESPACE}


def test_long_names_are_cut() -> None:
    """A release with the longest name that Helm allows still has valid names, labels included."""
    for item in objects(DEMO, name="r" * 53):
        assert len(item["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in item["metadata"]["labels"].values())


@pytest.mark.parametrize(
    ("values", "blamed"),
    [({}, "models"), ({"models": {"a": {}}}, "modelStore"), ({"demo": True}, "auth")],
    ids=["nothing to serve", "no place to find it", "nobody may ask, or everybody"],
)
def test_values_that_cannot_work_are_refused(values: dict[str, Any], blamed: str) -> None:
    """The message names the value to set."""
    with pytest.raises(helm_python.HelmError, match=f"{blamed}: expected"):
        render(values)


def test_it_packages(tmp_path: Path) -> None:
    """The archive has rules, dashboards and schema, and none of the values that only tests need."""
    archive = helm_python.package(CHART, destination=tmp_path)
    with helm_python.Chart.load_archive(Path(archive).read_bytes()) as chart:
        names = {file["name"] for file in chart.files}
        assert chart.schema is not None
    shipped = {str(file.relative_to(CHART)) for part in ("rules", "dashboards") for file in (CHART / part).iterdir()}
    assert shipped <= names
    assert not any(name.startswith("ci/") for name in names)


def key(item: Object) -> tuple[str, str]:
    """What may be there once in a namespace."""
    return item["kind"], item["metadata"]["name"]


def _foreign(item: Object) -> bool:
    return bool(item["kind"] == "ResourceClaimTemplate")
