"""Studies of the flag: the service's own checks, run on many inputs without a server."""
