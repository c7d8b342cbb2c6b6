"""Nouns and errors. Standard library and numpy only; everything is frozen and keyword-only."""
