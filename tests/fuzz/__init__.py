"""Hostile requests against a real server: `python -m tests.fuzz`. What comes back may blame the caller, never us."""
