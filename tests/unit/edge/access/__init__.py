"""Tests of the doors, against a fake house."""
