"""Tests of `rollcall.checks`."""
