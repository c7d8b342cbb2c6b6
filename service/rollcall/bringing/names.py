"""Names as commands take them."""

from __future__ import annotations

import argparse

from rollcall.settings import MODEL_NAME


def named_revision(text: str) -> tuple[str, str]:
    """Read NAME or NAME@REVISION; for argparse."""
    name, at, revision = text.partition("@")
    if not MODEL_NAME.fullmatch(name) or (at and not MODEL_NAME.fullmatch(revision)):
        message = f"expected NAME or NAME@REVISION, got {text[:80]!r}"
        raise argparse.ArgumentTypeError(message)
    return name, revision


def plain_name(text: str) -> str:
    """Read a model's name; for argparse."""
    if not MODEL_NAME.fullmatch(text):
        message = f"expected letters, digits, dot, underscore, hyphen, at most 64, got {text[:80]!r}"
        raise argparse.ArgumentTypeError(message)
    return text
