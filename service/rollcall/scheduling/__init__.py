"""Which rows run next, and how long they will take: pure values, the clock passed in, no threads."""
