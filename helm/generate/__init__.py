"""Generates what the chart carries: its dashboards and its table of values. `python -m helm.generate [--check]`."""
