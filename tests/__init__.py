"""Rollcall's tests mirror its rooms."""
