"""Tests of the records of what was explained."""
