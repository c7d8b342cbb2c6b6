"""Run a built image as the chart would, and use it from outside: `python -m tests.contract.container IMAGE`.

With podman and runc, from the rendered Deployment: its user, its read-only root, its capabilities, its mounts, its
environment and its settings. PODMAN_OPTIONS go to every podman command, e.g. where its storage is.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from rollcall_client import CheckLevel, Client, Flag
from tests.chart.rendering import DEMO, Object, objects, of_kind, pods, settings_of
from tests.monitoring import free_port

OPTIONS = shlex.split(os.environ.get("PODMAN_OPTIONS", ""))
PODMAN = ("podman", *OPTIONS, "--runtime", "runc", "--cgroup-manager", "cgroupfs")
NAME = "rollcall-image-test"
START_SECONDS = 180.0
TEXT = "A wonderful, moving film with a great cast."


def main() -> int:
    """Try the image; return the exit code."""
    (image,) = sys.argv[1:]
    grpc, admin = free_port(), free_port()
    found = objects({**DEMO, "ports": {"grpc": grpc, "admin": admin}, "drain": {"propagationSeconds": 1}})
    with tempfile.TemporaryDirectory() as scratch:
        settings = Path(scratch) / "rollcall.toml"
        settings.write_text(settings_of(found))
        settings.chmod(0o644)
        Path(scratch).chmod(0o755)
        with container(image, found, settings), Client(f"127.0.0.1:{grpc}", timeout=120) as client:
            wait_until_ready(f"http://127.0.0.1:{admin}/readyz")
            assert client.explain(TEXT).shown.verdict.flag is Flag.FAITHFUL
            print("it explains")
            tried = podman("exec", NAME, "sh", "-c", "! touch /x 2>/dev/null && touch /cache/x && id -u")
            assert tried.strip() == "10001"
            status = podman("exec", NAME, "cat", "/proc/1/status")
            assert "CapEff:\t0000000000000000" in status
            assert "NoNewPrivs:\t1" in status
            privileged = podman("exec", NAME, "sh", "-c", "find / -xdev -type f -perm /6000 2>/dev/null || true")
            assert privileged == "", privileged
            print("its root cannot be written to, it has no rights, and no file that gives any")
            with ThreadPoolExecutor() as caller:
                answer = caller.submit(client.explain, TEXT, level=CheckLevel.THOROUGH)
                time.sleep(0.5)
                assert not answer.done()
                podman("kill", "--signal", "TERM", NAME)
                assert answer.result().rows > 0
            assert podman("wait", NAME).strip() == "0"
            print("asked to stop it finishes what it has, and ends with code 0")
    return 0


@contextmanager
def container(image: str, found: list[Object], settings: Path) -> Iterator[None]:
    """Run the image until the block ends."""
    (pod,) = pods(of_kind(found, "Deployment"))
    (spec,) = pod["spec"]["containers"]
    user = pod["spec"]["securityContext"]
    options = ["--name", NAME, "--detach", "--network", "host", "--read-only"]
    options += ["--read-only-tmpfs=false", "--user", f"{user['runAsUser']}:{user['runAsGroup']}", "--cap-drop", "ALL"]
    options += ["--security-opt", "no-new-privileges", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
    for name, place in {mount["name"]: mount["mountPath"] for mount in spec["volumeMounts"]}.items():
        if name in {"cache", "tmp"}:  # what emptyDir is: a directory of the node's
            directory = settings.with_name(name)
            directory.mkdir()
            directory.chmod(0o777)
            options += ["--volume", f"{directory}:{place}"]
    options += [f"--env={variable['name']}={variable['value']}" for variable in spec["env"]]
    options += ["--volume", f"{settings}:/etc/rollcall/rollcall.toml:ro"]
    subprocess.run([*PODMAN, "run", *options, image, *spec["args"]], check=True, stdout=subprocess.DEVNULL)
    try:
        yield
    except BaseException:
        print(podman("logs", NAME), file=sys.stderr)
        raise
    finally:
        podman("rm", "--force", "--time", "0", NAME)


def podman(*arguments: str) -> str:
    """Run podman; return what it prints. Raises CalledProcessError."""
    return subprocess.run([*PODMAN, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def wait_until_ready(url: str) -> None:
    """Wait until the readiness probe succeeds."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and podman("inspect", "--format", "{{.State.Running}}", NAME).strip() == "true":
        try:
            with urlopen(url, timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.5)
    message = "the container did not become ready"
    raise TimeoutError(message)


if __name__ == "__main__":
    sys.exit(main())
