"""The chart, rendered by Helm's own engine and held to what Kubernetes, its policies and operators expect."""
