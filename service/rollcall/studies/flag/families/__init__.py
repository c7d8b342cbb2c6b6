"""Families of models with known truth: weights written down, or trained on texts whose evidence was planted."""
