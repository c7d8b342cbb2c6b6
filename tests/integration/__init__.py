"""A real server and the real client."""
