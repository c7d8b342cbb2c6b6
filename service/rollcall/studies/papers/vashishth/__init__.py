"""Vashishth et al. 2019, Attention Interpretability Across NLP Tasks."""
