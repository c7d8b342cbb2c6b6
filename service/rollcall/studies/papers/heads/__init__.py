"""Heads, other parts, and attention's share of a decision."""
