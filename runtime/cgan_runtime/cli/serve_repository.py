"""cgan-serve --triton-repo: only write the model repository, for a server elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cgan_runtime.errors import UsageError

if TYPE_CHECKING:
    from cgan_runtime.bundle import Bundle
    from cgan_runtime.serving.gpu_plans import GpuOptions
    from cgan_runtime.serving.ports import Ports
    from cgan_runtime.serving.repository import RepositoryOptions

__all__ = ["gpu_number", "write_for_container", "write_only"]

Say = Callable[[str], object]


def write_only(target: Path, bundles: list[Bundle], options: RepositoryOptions, say: Say) -> None:
    """For a server like ours.

    Raises:
        UsageError: the folder exists, or two bundles have models of one name.
    """
    from cgan_runtime.serving.environment import model_packages
    from cgan_runtime.serving.repository import require_distinct_models, write_repository

    require_distinct_models(bundles)
    models = _write(target, lambda root: [n for bundle in bundles for n in write_repository(root, bundle, options)])
    print(f"wrote {target} with {', '.join(models)}")
    say(f"the server's Python needs: {' '.join(model_packages(options.backend))}")


def write_for_container(
    target: Path, bundles: list[Bundle], options: GpuOptions, host: str, ports: Ports, say: Say
) -> None:
    """For NVIDIA's container.

    Raises:
        UsageError: as `write_only`.
        BundleError: no plan fits the container.
    """
    from cgan_runtime.serving.container_run import plan_run
    from cgan_runtime.serving.repository import require_distinct_models

    require_distinct_models(bundles)
    run = plan_run(bundles, options, host=host, ports=ports)
    models = _write(target, run.write)
    for note in run.notes:
        say(note)
    print(f"wrote {target} with {', '.join(models)}\n{run.text(target)}")


def gpu_number(device: str | None) -> int | None:
    """The number of a GPU in the container; None for all of them.

    Raises:
        UsageError: a device that the container does not have.
    """
    kind, _, number = (device or "cuda").partition(":")
    if kind != "cuda" or (number and not (number.isascii() and number.isdigit())):
        raise UsageError(f"the container has no device {device!r} for --target ngc; give cuda or cuda:N.")
    return int(number) if number else None


def _write(target: Path, write: Callable[[Path], Sequence[str]]) -> Sequence[str]:
    """Let the repository be written to a new folder, which appears whole or not at all."""
    from cgan_runtime.atomic import atomic_folder
    from cgan_runtime.claims import claim

    if target.exists():
        raise UsageError(f"{target} exists already; choose another folder for --triton-repo.")
    with claim(target), atomic_folder(target) as root:
        return write(root)
