"""What people see who show an answer in a terminal or a notebook."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import TYPE_CHECKING

from hypothesis import given

import canned
from hostile import explanations
from rollcall_client import html, terminal

if TYPE_CHECKING:
    import pytest

    from rollcall_client import Explanation


class Frames(HTMLParser):
    """The elements of a piece of HTML, with their attributes as a browser reads them."""

    def __init__(self, text: str) -> None:
        """Read."""
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        self.elements.append((tag, dict(attrs)))


def test_a_terminal_gets_the_view_for_terminals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without colour where output goes into a file or a pipe, as wide as COLUMNS says."""
    monkeypatch.setenv("COLUMNS", "72")
    answer = canned.explanation()
    answer.show()
    assert capsys.readouterr().out == terminal.render(answer, color=False, width=72)


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal has colours unless NO_COLOR is set."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    canned.explanation().show()
    assert "\x1b[" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    canned.explanation().show()
    assert "\x1b[" not in capsys.readouterr().out


@given(explanations())
def test_a_notebook_gets_the_page_in_a_frame(answer: Explanation) -> None:
    """One element, which runs the page's script and can reach nothing around it; hostile texts stay inside."""
    ((tag, attributes),) = Frames(answer._repr_html_()).elements
    assert tag == "iframe"
    assert attributes["sandbox"] == "allow-scripts"
    assert attributes["srcdoc"] == html.render_page(answer)


def test_in_a_notebook_show_displays(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A kernel is given the answer to display; IPython in a terminal prints as any terminal does."""
    displayed: list[object] = []
    shell = SimpleNamespace(kernel=object())
    python = SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(display=displayed.append))
    monkeypatch.setitem(sys.modules, "IPython", python)
    answer = canned.explanation()
    answer.show()
    assert displayed == [answer]
    assert capsys.readouterr().out == ""
    del shell.kernel
    answer.show()
    assert displayed == [answer]
    assert capsys.readouterr().out
