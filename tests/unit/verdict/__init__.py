"""Tests of `rollcall.verdict`."""
