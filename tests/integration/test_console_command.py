"""`rollcall console` as people start it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys

import httpx2

from tests.console import Page


def test_the_demonstration_prints_where_it_is_and_who_may_sign_in() -> None:
    """The address and the tokens that it prints work; Ctrl-C ends it in good order."""
    command = [sys.executable, "-m", "rollcall", "console", "--demo", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = ""
        while "Ctrl-C" not in told:
            line = process.stdout.readline()
            assert line, told
            told += line
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+", told)
        (token,) = re.findall(r"^  ben +(\S+)", told, flags=re.MULTILINE)
        with httpx2.Client(base_url=address, follow_redirects=True) as browser:
            form = Page(browser.get("/").text, 200, "/sign-in").form("/sign-in")
            page = browser.post("/sign-in", data={**form.fields, "token": token})
            assert "Reviews" in page.text
            assert "2026/17" in page.text
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_a_port_in_use_is_told() -> None:
    """In one line, and at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "rollcall", "console", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "ddress already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_console_for_the_world_without_https_is_refused() -> None:
    """With the exit code of wrong options."""
    command = [sys.executable, "-m", "rollcall", "console", "--host", "0.0.0.0"]  # noqa: S104 - refused
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "https" in done.stderr
