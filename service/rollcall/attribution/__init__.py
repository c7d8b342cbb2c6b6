"""Maps from captured attention: pure functions, one map per file, and the sum over the tokens of a unit."""
