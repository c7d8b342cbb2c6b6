"""Tests of one request on its way, from question to explanation."""
