"""What is inside the objects works: settings, the copy of models, rules, and the pod of `helm test`."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest
import yaml

from rollcall.__main__ import parser
from rollcall.commands.serving import serve_sources
from rollcall.demo.server import server_process
from rollcall.settings import Settings, load_settings
from tests.chart.rendering import CHART, DEMO, SETS, Object, merged, objects, of_kind, pods, rendered, settings_of

PROMTOOL = shutil.which("promtool")
CONFIG = "/etc/rollcall/rollcall.toml"


def server_arguments(found: tuple[Object, ...] | list[Object], config: Path) -> list[str]:
    """The server's arguments, with the settings file where it is here."""
    (pod,) = pods(of_kind(found, "Deployment"))
    return [argument.replace(CONFIG, str(config)) for argument in pod["spec"]["containers"][0]["args"]]


def read(found: tuple[Object, ...] | list[Object], tmp_path: Path) -> Settings:
    """Read the settings as the service does, with the models' volume below `tmp_path`. Raises SettingsError."""
    text = settings_of(found).replace('"/models/', f'"{tmp_path}/models/').replace('"/etc/', f'"{tmp_path}/etc/')
    for directory in re.findall(rf'"({tmp_path}/models/[^"]*)"', text):
        Path(directory).mkdir(parents=True, exist_ok=True)
    for file in map(Path, re.findall(rf'"({tmp_path}/etc/[^"]*)"', text)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    config = tmp_path / "rollcall.toml"
    config.write_text(text)
    return load_settings(serve_sources(parser().parse_args(server_arguments(found, config)), {}))


@pytest.mark.parametrize("name", SETS)
def test_the_service_takes_its_settings(name: str, tmp_path: Path) -> None:
    """Every set of values makes a file that the service reads without a mistake, and that fits the pod."""
    settings = read(rendered(name), tmp_path)
    (pod,) = pods(of_kind(rendered(name), "Deployment"))
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert all(ip_address(door.host).is_unspecified for door in (settings.grpc, settings.admin))
    assert (settings.grpc.port, settings.admin.port) == (ports["grpc"], ports["admin"])
    drained = settings.grpc.propagation_seconds + settings.grpc.drain_seconds
    assert pod["spec"]["terminationGracePeriodSeconds"] > drained
    kept = [place for place in (settings.state.directory, settings.audit.directory) if place is not None]
    mounts = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert all(any(str(place).startswith(mount) for mount in mounts) for place in kept)
    secrets = {mount["mountPath"] for mount in container["volumeMounts"] if mount["mountPath"].startswith("/etc/")}
    read_from = {str(file.parent.relative_to(tmp_path)) for file in tmp_path.glob("etc/rollcall/*/*")}
    assert {f"/{directory}" for directory in read_from} == secrets - {CONFIG}
    assert settings.auth.required or settings.auth.dangerously_serve_anyone


def test_settings_arrive_as_they_were_given(tmp_path: Path) -> None:
    """Whole numbers stay whole, shares stay shares, and odd names and texts keep their signs."""
    changes = {
        "config": {"audit": {"origin": 'a"b\\c'}, "limits": {"max_in_flight": 1_000_000}, "default_model": "a.b-c"},
        "models": {"a.b-c": {"path": "reviews", "revision": "ä = #1"}},
    }
    settings = read(objects(merged(SETS["audit"], changes)), tmp_path)
    assert settings.audit.origin == 'a"b\\c'
    assert settings.limits.max_in_flight == 1_000_000
    assert settings.audit.max_spool_bytes == 2 * 1024**3
    assert {model.name: model.revision for model in settings.models} == {"a.b-c": "ä = #1", "fraud": ""}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Models as an image has them: a directory each, and their digests beside."""
    source = tmp_path / "source"
    for name, content in {"fraud/model.safetensors": b"weights", "fraud/config.json": b"{}"}.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    sums = [f"{digest(file)}  {file.relative_to(source)}\n" for file in sorted(source.rglob("*.*"))]
    (source / "SHA256SUMS").write_text("".join(sums))
    return source


def digest(file: Path) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def copy_models(source: Path, pinned: str) -> tuple[int, Path]:
    """Run the init container's own command; return its exit code, and where the models should be."""
    (pod,) = pods(of_kind(rendered("gpu"), "Deployment"))
    (container,) = pod["spec"]["initContainers"]
    names = {variable["name"] for variable in container["env"]}
    assert names == {"SOURCE", "TARGET", "MANIFEST_SHA256"}
    target = source.parent / "target"
    target.mkdir()
    environment = {"SOURCE": str(source), "TARGET": str(target), "MANIFEST_SHA256": pinned, "PATH": os.environ["PATH"]}
    command = [*container["command"], *container["args"]]
    return subprocess.run(command, env=environment, check=False, capture_output=True).returncode, target


def test_models_are_copied_and_checked(store: Path) -> None:
    """Everything arrives where the server looks for it."""
    code, target = copy_models(store, digest(store / "SHA256SUMS"))
    assert code == 0
    assert (target / "fraud" / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize("harmed", ["fraud/model.safetensors", "SHA256SUMS", "pin"])
def test_other_models_are_not_served(store: Path, harmed: str) -> None:
    """Another byte in a file, another manifest or another pin, and the pod does not start."""
    pinned = digest(store / "SHA256SUMS")
    if harmed == "pin":
        pinned = "0" * 64
    else:
        with (store / harmed).open("ab") as file:
            file.write(b"x")
    assert copy_models(store, pinned)[0] != 0


def test_rules_are_those_that_are_tested() -> None:
    """Nothing but what the values say differs from the files: severities, objectives, pages, and what is left out."""
    (default,) = of_kind(objects({**DEMO, "rules": {"enabled": True}}), "PrometheusRule")
    files = [yaml.safe_load(file.read_text()) for file in sorted((CHART / "rules").glob("*.yaml"))]
    assert default["spec"]["groups"] == [group for file in files for group in file["groups"]]
    (changed,) = of_kind(rendered("cpu"), "PrometheusRule")
    rules = [rule for group in changed["spec"]["groups"] for rule in group["rules"]]
    alerts = {rule["alert"]: rule for rule in rules if "alert" in rule}
    assert "RollcallAbsent" not in alerts
    assert {alert["labels"]["severity"] for alert in alerts.values()} == {"critical", "warning"}
    assert all(
        alert["annotations"]["runbook_url"] == f"https://runbooks.example.com/rollcall/{name}.md"
        for name, alert in alerts.items()
    )
    objectives = {rule["labels"]["slo"]: rule["expr"] for rule in rules if rule.get("record", "").endswith(":ratio")}
    assert objectives["availability"] == "vector(0.9995)"
    assert objectives["coverage"] == "vector(0.995)"


@pytest.mark.skipif(
    PROMTOOL is None and os.environ.get("CI") != "true",
    reason="PROMTOOL IS MISSING, the chart's rules are not checked: install it (Debian: apt-get install prometheus)",
)
def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    """What the operator would load, not a copy of it."""
    assert PROMTOOL is not None, "promtool must be on PATH in CI (Debian: apt-get install prometheus)"
    (rule,) = of_kind(rendered("cpu"), "PrometheusRule")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]))
    done = subprocess.run(
        [PROMTOOL, "check", "rules", str(tmp_path / "rules.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_dashboards_arrive_untouched() -> None:
    """Helm does not read the braces in them."""
    (item,) = [o for o in of_kind(rendered("cpu"), "ConfigMap") if o["metadata"]["name"].endswith("-dashboards")]
    files = {f"rollcall-{file.name}": file.read_text() for file in (CHART / "dashboards").glob("*.json")}
    assert item["data"] == files
    assert item["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_first_try_works(tmp_path: Path) -> None:
    """The server runs as rendered, and what `helm test` runs gets an explanation from it."""
    found = objects({**DEMO, "drain": {"propagationSeconds": 0}})
    config = tmp_path / "rollcall.toml"
    config.write_text(settings_of(found))
    (tester,) = of_kind(found, "Pod")
    arguments = tester["spec"]["containers"][0]["args"]
    with server_process(*server_arguments(found, config)[1:]) as server:
        arguments[arguments.index("--target") + 1] = server.target
        rollcall = Path(sys.executable).parent / "rollcall"
        done = subprocess.run([rollcall, *arguments], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "FAITHFUL" in done.stdout
