"""The examples that people copy work as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import canned
import rollcall_client
from fake_service import FakeService, Stream
from rollcall_client._v1 import explanation_service_pb2

if TYPE_CHECKING:
    import pytest

README = Path(__file__).parent.parent / "README.md"
TARGET = "localhost:8001"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def _run(source: str, service: FakeService) -> None:
    exec(compile(source.replace(TARGET, service.target), "example", "exec"), {})  # noqa: S102 - our own examples


def test_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All blocks in order, as one program."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").write_bytes(b"a picture")
    explained = canned.explain_reply()
    listed = explanation_service_pb2.ListModelsResponse(models=[canned.model()])
    streamed = Stream(
        messages=(
            explanation_service_pb2.ExplainStreamResponse(
                progress=explanation_service_pb2.Progress(stage="thorough", rows=64, planned_rows=900)
            ),
            explanation_service_pb2.ExplainStreamResponse(header=canned.thorough()),
        )
    )
    one_of_many = explanation_service_pb2.ExplainManyResponse(explanation=explained)
    asked = (explained, listed, canned.predict_reply(), explained, canned.of_image())
    turns = (*asked, streamed, one_of_many, one_of_many, explained)
    with FakeService.serving(*turns) as service:
        _run("\n".join(BLOCKS), service)
    assert capsys.readouterr().out.startswith("positive FAITHFUL\nThe 0.01 Effect(")
    assert (tmp_path / "overlay.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "explanation.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_first_example_is_the_packages_own(capsys: pytest.CaptureFixture[str]) -> None:
    """What `help(rollcall_client)` shows runs too."""
    documentation = rollcall_client.__doc__ or ""
    example = "\n".join(line for line in documentation.splitlines() if line.startswith("    "))
    with FakeService.serving(canned.explain_reply()) as service:
        _run(dedent(example), service)
    assert capsys.readouterr().out.startswith("positive FAITHFUL")
