"""Models: which architectures are supported, how one is loaded and proved, and the registry of those being served."""
