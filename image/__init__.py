"""What the Dockerfile installs, by version and hash, and how that is written down."""
