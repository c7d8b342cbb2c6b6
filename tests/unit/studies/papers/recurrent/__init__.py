"""Tests of the recurrent models of the papers."""
