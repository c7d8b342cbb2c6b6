"""Tests of what many answers say together."""
