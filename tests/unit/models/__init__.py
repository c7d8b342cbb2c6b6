"""Tests of loading: what is served, what is refused, and what it is called."""
