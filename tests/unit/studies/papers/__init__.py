"""Tests of the papers' studies."""
