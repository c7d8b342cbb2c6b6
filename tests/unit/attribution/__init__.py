"""Tests of `rollcall.attribution`."""
