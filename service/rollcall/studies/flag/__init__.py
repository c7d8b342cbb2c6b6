"""How often is the flag wrong? Models whose truth is known, the service's own checks on them, and a report."""
