"""Turn a bundle into images: same seed, same picture.

The names below are the public interface. Each is imported from its module on first use, so that importing the
package stays light (it also lies, with few of its modules, in every Triton model repository).
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cgan_runtime import noise
    from cgan_runtime.async_client import Answer, AsyncClient
    from cgan_runtime.bundle import Bundle, read_bundle
    from cgan_runtime.contract import (
        Condition,
        Contract,
        HeatmapEncoding,
        ImageEncoding,
        LabelEncoding,
        NoiseInput,
        Output,
        ScoreEncoding,
        SizeRule,
        VectorEncoding,
    )
    from cgan_runtime.encodings import DECODERS, ENCODERS, decoder_of, encoder_of
    from cgan_runtime.errors import (
        BadInputError,
        BundleError,
        CganError,
        CheckFailedError,
        ImageError,
        ServerError,
        UsageError,
    )
    from cgan_runtime.generator import SeededGenerator, SeededModel, noise_tensors
    from cgan_runtime.manifest import Manifest
    from cgan_runtime.runners import RUNNERS, Runner, RunnerKind
    from cgan_runtime.serving.environment import make_environment
    from cgan_runtime.serving.server import ServerOptions, TritonServer
    from cgan_runtime.triton_client import TritonClient, TritonGenerator, TritonRunner

__all__ = [
    "DECODERS",
    "ENCODERS",
    "RUNNERS",
    "Answer",
    "AsyncClient",
    "BadInputError",
    "Bundle",
    "BundleError",
    "CganError",
    "CheckFailedError",
    "Condition",
    "Contract",
    "HeatmapEncoding",
    "ImageEncoding",
    "ImageError",
    "LabelEncoding",
    "Manifest",
    "NoiseInput",
    "Output",
    "Runner",
    "RunnerKind",
    "ScoreEncoding",
    "SeededGenerator",
    "SeededModel",
    "ServerError",
    "ServerOptions",
    "SizeRule",
    "TritonClient",
    "TritonGenerator",
    "TritonRunner",
    "TritonServer",
    "UsageError",
    "VectorEncoding",
    "__version__",
    "decoder_of",
    "encoder_of",
    "make_environment",
    "noise",
    "noise_tensors",
    "read_bundle",
]

_MODULES: Final = {
    "async_client": ("Answer", "AsyncClient"),
    "bundle": ("Bundle", "read_bundle"),
    "contract": (
        "Condition",
        "Contract",
        "HeatmapEncoding",
        "ImageEncoding",
        "LabelEncoding",
        "NoiseInput",
        "Output",
        "ScoreEncoding",
        "SizeRule",
        "VectorEncoding",
    ),
    "encodings": ("DECODERS", "ENCODERS", "decoder_of", "encoder_of"),
    "errors": (
        "BadInputError",
        "BundleError",
        "CganError",
        "CheckFailedError",
        "ImageError",
        "ServerError",
        "UsageError",
    ),
    "generator": ("SeededGenerator", "SeededModel", "noise_tensors"),
    "manifest": ("Manifest",),
    "noise": ("noise",),
    "runners": ("RUNNERS", "Runner", "RunnerKind"),
    "serving.environment": ("make_environment",),
    "serving.server": ("ServerOptions", "TritonServer"),
    "triton_client": ("TritonClient", "TritonGenerator", "TritonRunner"),
}
_HOME: Final = {name: module for module, names in _MODULES.items() for name in names}

try:
    __version__ = version("cgan-deploy")
except PackageNotFoundError:  # the copy inside a model repository, or a source tree on the path
    __version__ = "0+source"


def __getattr__(name: str) -> Any:
    """A public name, from its module."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOME[name]}")
    return module if name == "noise" else getattr(module, name)  # `noise` is the module of the seeded noise


def __dir__() -> list[str]:
    """The public names."""
    return __all__
