"""Rollcall: explanations of transformer decisions that say whether they may be relied on."""

__version__ = "0.1.0"
