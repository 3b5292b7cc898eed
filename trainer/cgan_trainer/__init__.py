"""Train conditional-GAN generators and save them as checkpoints that carry their contract."""

from cgan_runtime import __version__

__all__ = ["__version__"]
