"""Bringing models in."""
