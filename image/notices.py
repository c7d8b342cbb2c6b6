"""Write the licences of everything installed beside this Python, as the licences ask: `python notices.py`."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, distributions

LICENCES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS")


def notice(package: Distribution) -> str:
    """Name a package, its version and its licence, with the texts that it brings."""
    meta = package.metadata.json
    licence = meta.get("license_expression") or str(meta.get("license") or "see below").splitlines()[0]
    texts = [file.read_text() for file in package.files or () if file.name.upper().startswith(LICENCES)]
    return "\n\n".join([f"{'=' * 100}\n{meta['name']} {package.version}: {licence}", *texts])


def main() -> None:
    """Write to standard output, by name."""
    found = sorted(distributions(), key=lambda package: str(package.metadata["Name"]).lower())
    sys.stdout.write("\n\n".join(map(notice, found)) + "\n")


if __name__ == "__main__":
    main()
