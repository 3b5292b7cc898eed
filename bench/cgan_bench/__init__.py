"""Measure runners side by side."""

from cgan_runtime import __version__

__all__ = ["__version__"]
