"""The restricted profile of the Pod Security Standards, and what a cautious operator asks beyond it, for every pod.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ (restricted, which includes baseline).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import pytest

from tests.chart.rendering import SETS, Object, containers, of_kind, pods, rendered

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}

OF_PODS: dict[str, Callable[[Object], bool]] = {
    "host namespaces": lambda spec: not any(spec.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC")),
    "volume types": lambda spec: all(set(volume) - {"name"} <= VOLUMES for volume in spec.get("volumes", ())),
    "sysctls": lambda spec: not spec.get("securityContext", {}).get("sysctls"),
}
OF_CONTAINERS: dict[str, Callable[[Object], bool]] = {
    "privileged": lambda context: not context.get("privileged"),
    "privilege escalation": lambda context: context.get("allowPrivilegeEscalation") is False,
    "running as non-root": lambda context: context.get("runAsNonRoot") is True,
    "running as non-root user": lambda context: context.get("runAsUser") != 0,
    "seccomp": lambda context: context.get("seccompProfile", {}).get("type") in {"RuntimeDefault", "Localhost"},
    "capabilities dropped": lambda context: context.get("capabilities", {}).get("drop") == ["ALL"],
    "capabilities added": lambda context: set(context.get("capabilities", {}).get("add", ())) <= {"NET_BIND_SERVICE"},
    "/proc mount type": lambda context: context.get("procMount", "Default") == "Default",
}
"""Of a container's security context laid over its pod's."""


def violations(pod: Object) -> list[str]:
    """Name every rule of the profile that a pod breaks."""
    spec = pod["spec"]
    broken = [rule for rule, holds in OF_PODS.items() if not holds(spec)]
    for container in containers(pod):
        context = {**spec.get("securityContext", {}), **container.get("securityContext", {})}
        broken += [f"{container['name']}: {rule}" for rule, holds in OF_CONTAINERS.items() if not holds(context)]
        if any(port.get("hostPort") for port in container.get("ports", ())):
            broken.append(f"{container['name']}: host ports")
    return broken


@pytest.mark.parametrize("name", SETS)
def test_every_pod_is_restricted(name: str) -> None:
    """The namespace may enforce the restricted profile."""
    found = pods(rendered(name))
    assert found
    assert [violations(pod) for pod in found] == [[]] * len(found)


def _host(pod: Object) -> None:
    pod["spec"]["hostPID"] = True


def _root(pod: Object) -> None:
    pod["spec"]["securityContext"] = {"seccompProfile": {"type": "RuntimeDefault"}, "runAsUser": 0}


def _raw_disk(pod: Object) -> None:
    pod["spec"]["volumes"].append({"name": "disk", "hostPath": {"path": "/"}})


def _capable(pod: Object) -> None:
    pod["spec"]["containers"][0]["securityContext"]["capabilities"] = {"add": ["SYS_ADMIN"]}


@pytest.mark.parametrize("harm", [_host, _root, _raw_disk, _capable])
def test_a_violation_would_be_found(harm: Callable[[Object], None]) -> None:
    """The check above can fail."""
    pod = copy.deepcopy(pods(rendered("cpu"))[0])
    harm(pod)
    assert violations(pod)


@pytest.mark.parametrize("name", SETS)
def test_every_pod_is_careful(name: str) -> None:
    """Read-only roots, bounded memory and scratch space, no token, no service variables, images with a version."""
    for pod in pods(rendered(name)):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        for container in containers(pod):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert "memory" in container["resources"]["limits"]
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert re.search(r"@sha256:[0-9a-f]{64}$|:(?!latest$)[\w.-]+$", container["image"])
            assert "CUDA_VISIBLE_DEVICES" not in {variable["name"] for variable in container.get("env", ())}
        assert all(volume["emptyDir"].get("sizeLimit") for volume in spec["volumes"] if "emptyDir" in volume)


@pytest.mark.parametrize("name", SETS)
def test_caches_go_where_can_be_written(name: str) -> None:
    """Every library that caches is sent to a mount that is not read-only; none downloads."""
    (server,) = pods(of_kind(rendered(name), "Deployment"))
    (container,) = server["spec"]["containers"]
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    writable = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    for variable in ("HOME", "XDG_CACHE_HOME", "HF_HOME", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        assert any(str(environment[variable]).startswith(place) for place in writable)
    assert environment["HF_HUB_OFFLINE"] == environment["TRANSFORMERS_OFFLINE"] == "1"


@pytest.mark.parametrize("name", SETS)
def test_secrets_are_named_and_never_written(name: str) -> None:
    """The chart makes no Secret: it mounts those that the operator made."""
    assert of_kind(rendered(name), "Secret") == []
