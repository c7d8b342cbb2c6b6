"""Tests of the known-truth benchmark of the flag."""
