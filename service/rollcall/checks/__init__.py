"""Counterfactual checks, one per file; none imports another. They yield rows and receive row results."""
