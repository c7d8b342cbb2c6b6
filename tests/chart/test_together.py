"""The objects fit each other: selectors, ports, names, times."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.chart.rendering import DEMO, SETS, Object, merged, objects, of_kind, pods, rendered

SELECTING = ("Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor", "ServiceMonitor", "Deployment")


def server(name: str) -> Object:
    """The server's pod template."""
    (pod,) = pods(of_kind(rendered(name), "Deployment"))
    return pod


def selectors(item: Object) -> Iterator[dict[str, str]]:
    """By which labels an object finds pods (a ServiceMonitor: services)."""
    spec = item["spec"]
    for key in ("selector", "podSelector"):
        if key in spec:
            yield spec[key].get("matchLabels", spec[key])


@pytest.mark.parametrize("name", SETS)
def test_selectors_find_the_server(name: str) -> None:
    """Services, policy, budget, monitors and the deployment itself find the server's pods, and not those of tests."""
    labels = server(name)["metadata"]["labels"]
    (tester,) = of_kind(rendered(name), "Pod")
    (headless,) = [item for item in of_kind(rendered(name), "Service") if item["spec"].get("clusterIP") == "None"]
    for item in rendered(name):
        if item["kind"] in SELECTING:
            found = headless["metadata"]["labels"] if item["kind"] == "ServiceMonitor" else labels
            for selector in selectors(item):
                assert selector.items() <= found.items(), item["kind"]
                assert not selector.items() <= tester["metadata"]["labels"].items()
    for constraint in server(name)["spec"]["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("name", SETS)
def test_ports_have_the_names_that_are_asked_for(name: str) -> None:
    """Services, probes, policy and monitors name ports that the container has, and the settings open them."""
    (container,) = server(name)["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    asked = {port["targetPort"] for item in of_kind(rendered(name), "Service") for port in item["spec"]["ports"]}
    asked |= {container[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    for policy in of_kind(rendered(name), "NetworkPolicy"):
        asked |= {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
    for monitor in of_kind(rendered(name), "PodMonitor"):
        asked |= {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
    assert asked == ports.keys()


@pytest.mark.parametrize("name", SETS)
def test_volumes_are_mounted_and_mounts_have_volumes(name: str) -> None:
    """Neither is left over."""
    for pod in pods(rendered(name)):
        volumes = [volume["name"] for volume in pod["spec"]["volumes"]]
        every = [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
        assert {mount["name"] for container in every for mount in container["volumeMounts"]} == set(volumes)
        assert len(set(volumes)) == len(volumes)


@pytest.mark.parametrize("drain", [(0, 0, 0), (10, 30, 15), (20, 600, 60)])
def test_a_pod_is_not_killed_while_it_drains(drain: tuple[int, int, int]) -> None:
    """The grace period is longer than all that happens after SIGTERM."""
    propagation, calls, flush = drain
    values = {**DEMO, "drain": {"propagationSeconds": propagation, "seconds": calls, "flushSeconds": flush}}
    (pod,) = pods(of_kind(objects(values), "Deployment"))
    assert pod["spec"]["terminationGracePeriodSeconds"] >= sum(drain) + 5


@pytest.mark.parametrize("name", SETS)
def test_a_rollout_fails_no_sooner_than_its_pods(name: str) -> None:
    """The deadline of a rollout is later than the end of the startup budget."""
    (deployment,) = of_kind(rendered(name), "Deployment")
    probe = deployment["spec"]["template"]["spec"]["containers"][0]["startupProbe"]
    assert deployment["spec"]["progressDeadlineSeconds"] > probe["periodSeconds"] * probe["failureThreshold"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (DEMO, {"maxSurge": 1, "maxUnavailable": 0}),
        ({**DEMO, "gpu": {"count": 1}}, {"maxSurge": 0, "maxUnavailable": 1}),
        ({**DEMO, "persistence": {"enabled": True}}, None),
    ],
    ids=["processor", "gpu", "volume"],
)
def test_old_and_new_pods_do_not_wait_for_each_other(values: dict[str, object], expected: object) -> None:
    """Where a GPU or a volume is needed by both, the old pod goes first."""
    (deployment,) = of_kind(objects(values), "Deployment")
    strategy = deployment["spec"]["strategy"]
    assert strategy.get("rollingUpdate") == expected
    assert strategy["type"] == ("RollingUpdate" if expected else "Recreate")


@pytest.mark.parametrize(("count", "there"), [(0, False), (1, True)])
def test_a_gpu_is_a_limit_and_a_toleration(count: int, *, there: bool) -> None:
    """Without one nothing of it is left."""
    (pod,) = pods(of_kind(objects({**DEMO, "gpu": {"count": count}}), "Deployment"))
    (container,) = pod["spec"]["containers"]
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) is there
    assert ("tolerations" in pod["spec"]) is there


def test_pods_are_made_anew_when_their_settings_change_and_only_then() -> None:
    """The checksum moves with the settings and with nothing else."""

    def checksum(changes: dict[str, object]) -> str:
        (pod,) = pods(of_kind(objects(merged(SETS["cpu"], changes)), "Deployment"))
        return str(pod["metadata"]["annotations"]["checksum/settings"])

    before = checksum({})
    assert checksum({"config": {"limits": {"max_units": 32}}}) != before
    assert checksum({"models": {"fraud": {"threshold": {"probability": 0.5}}}}) != before
    assert checksum({"replicas": 5, "podMonitor": {"interval": "30s"}, "commonLabels": {"team": "x"}}) == before


@pytest.mark.parametrize(("replicas", "mode", "there"), [(1, "off", False), (2, "off", True), (1, "hpa", True)])
def test_a_budget_never_keeps_a_node_from_being_drained(replicas: int, mode: str, *, there: bool) -> None:
    """One replica has no budget; of several, one may always go, and one that is stuck as well."""
    budgets = of_kind(objects({**DEMO, "replicas": replicas, "autoscaling": {"mode": mode}}), "PodDisruptionBudget")
    assert len(budgets) == there
    assert all(budget["spec"]["maxUnavailable"] == 1 for budget in budgets)
    assert all(budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow" for budget in budgets)


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_only_one_sets_the_number_of_replicas(name: str) -> None:
    """With an autoscaler the deployment says nothing, and the autoscaler names the deployment."""
    (deployment,) = of_kind(rendered(name), "Deployment")
    (scaler,) = [item for item in rendered(name) if item["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}]
    assert "replicas" not in deployment["spec"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]


def test_keda_does_not_take_silence_for_an_empty_queue() -> None:
    """No answer of Prometheus is an error, and then there are rather too many replicas than too few."""
    (scaled,) = of_kind(rendered("gpu"), "ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    assert scaled["spec"]["fallback"]["replicas"] == scaled["spec"]["maxReplicaCount"]
    assert re.search(r'pod=~"prod-rollcall-\.\*"', trigger["metadata"]["query"])


def test_helm_test_says_who_it_is() -> None:
    """Where callers must say who they are or calls are encrypted, so it is for the pod of `helm test`."""
    (token,) = [v for v in pods(of_kind(rendered("cpu"), "Pod"))[0]["spec"]["containers"][0]["env"] if "valueFrom" in v]
    assert token["name"] == "ROLLCALL_CLIENT_TOKEN"
    (pod,) = of_kind(rendered("audit"), "Pod")
    (container,) = pod["spec"]["containers"]
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "tls"]
    for variable in ("ROLLCALL_CLIENT_CA", "ROLLCALL_CLIENT_CERT", "ROLLCALL_CLIENT_KEY"):
        assert environment[variable].startswith(mount["mountPath"])


def test_certificates_are_for_the_names_that_clients_use() -> None:
    """Both services, short and with their namespace; the pod mounts the secret that the certificate fills."""
    (certificate,) = of_kind(rendered("gpu"), "Certificate")
    for service in of_kind(rendered("gpu"), "Service"):
        name = service["metadata"]["name"]
        assert {name, f"{name}.explaining.svc"} <= set(certificate["spec"]["dnsNames"])
    (volume,) = [volume for volume in server("gpu")["spec"]["volumes"] if volume["name"] == "tls"]
    assert volume["secret"]["secretName"] == certificate["spec"]["secretName"]


@pytest.mark.parametrize("name", SETS)
def test_what_an_upgrade_cannot_change_is_what_it_was(name: str) -> None:
    """Selectors cannot be changed: another one needs UPGRADE.md to say that the deployment must be deleted first."""
    (deployment,) = of_kind(rendered(name), "Deployment")
    assert deployment["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "rollcall",
        "app.kubernetes.io/instance": "prod",
        "app.kubernetes.io/component": "server",
    }
