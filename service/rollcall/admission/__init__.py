"""Who gets in, and how much work a request is: pure values and a counter."""
