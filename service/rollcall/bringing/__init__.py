"""Bringing a model in: other servers' files become revisions of a repository, and are compared with what they were."""
