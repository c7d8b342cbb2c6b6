"""Tests of the compute thread and of what runs on it."""
