"""Promises to the outside that must not change by accident."""
