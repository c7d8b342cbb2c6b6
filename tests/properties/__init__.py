"""Laws that hold for every input, and verdicts on models whose truth is known."""
