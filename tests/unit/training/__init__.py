"""Tests of `rollcall.training`."""
