"""A repository for NVIDIA's container, and the lines that start and try it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

from cgan_runtime.axes import nearest_size, shape_of
from cgan_runtime.bundle import Bundle
from cgan_runtime.contract import Contract
from cgan_runtime.errors import BundleError
from cgan_runtime.serving.containers import CONTAINERS, Container, find_container, misfit, suitable
from cgan_runtime.serving.core import Core
from cgan_runtime.serving.environment import OWN_PACKAGES
from cgan_runtime.serving.examples import call_lines
from cgan_runtime.serving.gpu_core import gpu_core
from cgan_runtime.serving.gpu_plans import GpuOptions
from cgan_runtime.serving.ports import Ports, reachable_host
from cgan_runtime.serving.repository import model_names, write_models

__all__ = ["ContainerRun", "plan_run"]

UNDECIDED: Final = Container(tag="YY.MM", tensorrt=None)
FOR_ONNX_FILES: Final = find_container("26.07")  # its ONNX Runtime is 1.27, the oldest that this project takes
# What our models import there; its Python backend takes either numpy.
FRONT_PACKAGES: Final = (
    "numpy>=1.26,<3",
    *(name for name in OWN_PACKAGES if not name.startswith("numpy")),
)
DEVICE_PACKAGES: Final = ("cuda-bindings>=13,<14",)
LARGE_SIDE: Final = 1024  # of a free size, to estimate the shared memory
LEAST_SHM_MIB: Final = 256


@dataclass(frozen=True, kw_only=True)
class ContainerRun:
    """What will be written, and what to say of it.

    Attributes:
        bundles: with the core of each.
        container: that serves them; its tag is "YY.MM" where none is known to fit.
        notes: sentences about the choice.
        options: how it runs.
        host: address of the host that the ports are bound to.
        ports: on the host.
    """

    bundles: Sequence[tuple[Bundle, Core]]
    container: Container
    notes: tuple[str, ...]
    options: GpuOptions
    host: str
    ports: Ports

    @property
    def http_url(self) -> str:
        """Base URL for HTTP clients."""
        return f"http://{reachable_host(self.host)}:{self.ports.http}"

    @property
    def grpc_url(self) -> str:
        """host:port for gRPC clients."""
        return f"{reachable_host(self.host)}:{self.ports.grpc}"

    def write(self, root: Path) -> tuple[str, ...]:
        """The repository in an empty folder; returns the names of its models.

        Raises:
            BundleError: a bundle changed since it was read.
        """
        return tuple(name for bundle, core in self.bundles for name in write_models(root, bundle, core))

    def text(self, folder: Path) -> str:
        """The line that starts the container on a repository, and those that call its models."""
        lines = ["start it on the machine with the GPU:", self.docker_line(folder)]
        return "\n".join([*lines, call_lines(self, [bundle for bundle, _ in self.bundles])])

    def docker_line(self, folder: Path) -> str:
        """The line that starts the container."""
        ports = ((self.ports.http, 8000), (self.ports.grpc, 8001), (self.ports.metrics, 8002))
        host = f"[{self.host}]" if ":" in self.host else self.host
        server = [
            "tritonserver --model-repository=/models --disable-auto-complete-config --strict-readiness=false",
            *self._backend_flags(),
        ]
        packages = [*FRONT_PACKAGES, *(DEVICE_PACKAGES if self.options.noise == "device" else ())]
        quoted = " ".join(f'"{package}"' for package in packages)
        install = f"pip install --quiet {quoted}"
        words = [
            f"docker run --rm --gpus all --shm-size {self._shm_mib()}m",
            "-e PIP_BREAK_SYSTEM_PACKAGES=1 -e ORT_DISABLE_TELEMETRY=1",
            " ".join(f"-p {host}:{outside}:{inside}" for outside, inside in ports),
            f"-v {shlex.quote(f'{folder.resolve()}:/models:ro')}",
            self.container.image,
            f"sh -c '{install} && exec {' '.join(server)}'",
        ]
        return " \\\n  ".join(words)

    def _backend_flags(self) -> list[str]:
        """Plans that other versions may run hold program code, which is run only where it is allowed."""
        plans = [artifact.plan for _, core in self.bundles for artifact in core.files.values()]
        compatible = any(plan is not None and plan.version_compatible for plan in plans)
        return ["--backend-config=tensorrt,version-compatible=true"] if compatible else []

    def _shm_mib(self) -> int:
        """For the tensors of the largest batch: each front model has two processes, which take and call at once."""
        needed = 0
        for bundle, core in self.bundles:
            fronts = 2 * (len(model_names(bundle)) - 1)
            needed += 2 * fronts * core.max_batch * _row_bytes(bundle.manifest.contract)
        mib = LEAST_SHM_MIB
        while mib << 20 < needed:
            mib *= 2
        return mib


def plan_run(bundles: Sequence[Bundle], options: GpuOptions, *, host: str, ports: Ports) -> ContainerRun:
    """What is written for the bundles; nothing is written yet.

    Raises:
        BundleError: a bundle has nothing that the container can run, or no container can run all of them.
        UsageError: an option that does not fit a bundle.
        CganError: as `gpu_core`.
    """
    cores = [(bundle, gpu_core(bundle, options)) for bundle in bundles]
    notes = [note for bundle, core in cores for note in _left_out(bundle, core, options.container)]
    plans = [artifact.plan for _, core in cores for artifact in core.files.values() if artifact.plan is not None]
    container = options.container
    if not plans:
        container = container or FOR_ONNX_FILES
    elif container is None:
        exact = sorted({plan.version for plan in plans if not plan.version_compatible})
        if len(exact) > 1:
            raise BundleError(
                f"the plans are of TensorRT {' and '.join(exact)}; a container has one: serve them apart."
            )
        fitting = suitable(plans)
        container = fitting[-1] if fitting else UNDECIDED
        notes.append(_choice(" and ".join(exact or sorted({plan.version for plan in plans})), fitting))
    elif container.tensorrt is None:
        wanted = " and ".join(sorted({plan.version for plan in plans}))
        notes.append(
            f"which TensorRT container {container.tag} has is not known here; the plans were built with {wanted}: "
            "compare it with NVIDIA's support matrix."
        )
    return ContainerRun(
        bundles=cores, container=container, notes=tuple(notes), options=options, host=host, ports=ports
    )


def _choice(version: str, fitting: Sequence[Container]) -> str:
    if fitting:
        have = ", ".join(f"{one.tag} (TensorRT {one.tensorrt})" for one in fitting)
        return f"the plans were built with TensorRT {version}; containers that run them: {have}."
    known = ", ".join(f"{one.tag} has {one.tensorrt}" for one in CONTAINERS)
    return (
        f"no container that is known here runs plans of TensorRT {version} ({known}): put the tag of one that does "
        "in place of YY.MM, or build them with one of these versions."
    )


def _left_out(bundle: Bundle, core: Core, container: Container | None) -> list[str]:
    """Sentences about the plans that the container does not run, beside those that it does."""
    served = tuple(core.files.values())
    return [
        f"{bundle.path / artifact.path} is left out: {reason}."
        for artifact in bundle.manifest.artifacts
        if (artifact.backend, artifact.precision) == (served[0].backend, served[0].precision)
        and artifact not in served
        and artifact.plan is not None
        and container is not None
        and (reason := misfit(artifact.plan, container)) is not None
    ]


def _row_bytes(contract: Contract) -> int:
    """Bytes of all tensors of one sample."""
    sizes: Mapping[str, int] = {}
    if contract.sides is not None:
        sizes = dict.fromkeys("hw", nearest_size(LARGE_SIDE, contract.sides))
    return sum(4 * prod(shape_of(tensor.shape, sizes)) for tensor in (*contract.inputs, *contract.outputs))
