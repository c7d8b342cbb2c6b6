"""What runs models. `base` states the contract; each backend is imported only by whoever loads one."""
