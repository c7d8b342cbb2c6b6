"""Pruthi et al. 2020: attention that was taught to mislead."""
