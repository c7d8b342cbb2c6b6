"""Tests of the console's own rules, without a service."""
