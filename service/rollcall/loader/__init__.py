"""From what an operator says of models to models that serve, and those that come and go while others serve."""

from rollcall.loader.entries import load_spec, make_entry, prove
from rollcall.loader.exchanging import Loader

__all__ = ["Loader", "load_spec", "make_entry", "prove"]
