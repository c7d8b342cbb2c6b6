"""Clients that others made, unmodified, against a real server: `make conformance`."""
