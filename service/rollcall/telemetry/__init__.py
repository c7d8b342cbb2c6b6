"""What operators see: metrics and logs. Inputs never appear in either; lengths and digests do."""
