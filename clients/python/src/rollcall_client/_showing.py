"""Answers before people who work in Python: in a terminal, or in a notebook.

The views are imported when something is shown: they know answers, and answers know them by this file alone.
"""

from __future__ import annotations

import html as escaping
import os
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rollcall_client.explanation import Explanation

_FRAME = (
    '<iframe title="Rollcall" sandbox="allow-scripts" style="width: 100%; height: 36rem; border: 0" srcdoc="{page}">'
    "</iframe>"
)
"""The page cannot reach the notebook, nor its styles the page's: a frame without an origin has neither."""


def show(explanation: Explanation) -> None:
    """In a notebook as a page, else on standard output."""
    if in_notebook():
        sys.modules["IPython"].display.display(explanation)
        return
    from rollcall_client import terminal  # noqa: PLC0415 - see above

    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    sys.stdout.write(terminal.render(explanation, color=color, width=shutil.get_terminal_size().columns))


def framed(explanation: Explanation) -> str:
    """The page of an answer as an element that a notebook takes."""
    from rollcall_client import html  # noqa: PLC0415 - see above

    return _FRAME.format(page=escaping.escape(html.render_page(explanation), quote=True))


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook: IPython is there, and has somebody to display to."""
    python = sys.modules.get("IPython")
    shell = python.get_ipython() if python is not None else None
    return hasattr(shell, "kernel")
