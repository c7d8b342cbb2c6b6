"""Tests of the hook, the operators, the encoding and the captures, against the stock library."""
