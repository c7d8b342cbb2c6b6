"""Abnar and Zuidema 2020: rollout and flow."""
