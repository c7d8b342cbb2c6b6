"""Tests of `rollcall.domain`."""
