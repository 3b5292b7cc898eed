"""cgan-export: a checkpoint becomes a verified bundle; bundles are verified again and compared."""

from cgan_export.cli.export import main

__all__ = ["main"]
