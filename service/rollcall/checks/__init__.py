"""Counterfactual checks, one per file. They yield rows and receive row results.

None imports another; those of the level THOROUGH use the arithmetic of `alignment` and share the rows of `masking`.
"""
