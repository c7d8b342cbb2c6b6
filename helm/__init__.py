"""What is made from Python and committed beside the chart."""
