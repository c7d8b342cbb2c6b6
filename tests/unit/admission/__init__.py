"""Tests of permits, budgets and plans."""
