"""What would have changed a decision, against what people change."""
