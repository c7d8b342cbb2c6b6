"""Tests of `rollcall.studies`."""
