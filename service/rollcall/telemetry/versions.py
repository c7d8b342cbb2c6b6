"""Which software runs: for /statusz and the metric rollcall_build_info. Reads package metadata and imports nothing."""

from __future__ import annotations

import platform
from importlib import metadata

from rollcall import __version__

PACKAGES = ("torch", "transformers", "grpcio", "protobuf")


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Map Rollcall, the interpreter and each package that decides what a request gets to its version, or to "none"."""
    own = {"rollcall": __version__, "python": platform.python_version()}
    return own | {package: _version(package) for package in packages}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
