"""Turn a bundle into pictures: same seed, same picture."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("cgan-deploy")
except PackageNotFoundError:  # the copy inside a model repository, or a source tree on the path
    __version__ = "0+source"
