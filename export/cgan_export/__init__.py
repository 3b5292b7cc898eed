"""Turn a checkpoint into a verified bundle."""

from cgan_runtime import __version__

__all__ = ["__version__"]
