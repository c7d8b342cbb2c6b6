"""Tests of the families of models with known truth."""
