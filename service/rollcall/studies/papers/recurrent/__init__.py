"""Recurrent classifiers with one attention layer, as the papers have them, behind the seams of the engine."""
