"""From measurements to flags: pure functions of values. A policy, a calibration, a table and ten lines."""
