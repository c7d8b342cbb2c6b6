"""Write what is generated, or with --check say what is not as it would be written: exit code 1."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from helm.generate.device import DEVICE
from helm.generate.flags import FLAGS
from helm.generate.grafana import render
from helm.generate.service import SERVICE
from helm.generate.values import CHART, readme

BOARDS = (SERVICE, FLAGS, DEVICE)


def generated() -> dict[Path, str]:
    """Make every file's text."""
    dashboards = {CHART / "dashboards" / f"{board.slug}.json": render(board) for board in BOARDS}
    return {**dashboards, CHART / "README.md": readme()}


def main() -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m helm.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, complain about what differs")
    check = parser.parse_args().check
    stale = [path for path, text in generated().items() if not path.is_file() or path.read_text() != text]
    for path in stale:
        if check:
            print(f"{path.name} is not what `make charts` would write", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(generated()[path])
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
