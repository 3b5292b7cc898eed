"""NVIDIA's Triton containers: which TensorRT each has, and which of them a plan can be served in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cgan_runtime.errors import UsageError
from cgan_runtime.manifest import Plan
from cgan_runtime.runners.tensorrt.fit import misfit_of

__all__ = ["CONTAINERS", "Container", "find_container", "misfit", "suitable"]

TAG: Final = re.compile(r"^[0-9]{2}\.(0[1-9]|1[0-2])$")


@dataclass(frozen=True, kw_only=True)
class Container:
    """A monthly release, nvcr.io/nvidia/tritonserver:TAG-py3.

    Attributes:
        tag: "26.07".
        tensorrt: its version; None where it is not known here.
        source: who says so.
    """

    tag: str
    tensorrt: str | None
    source: str = ""

    @property
    def image(self) -> str:
        """What docker is given."""
        return f"nvcr.io/nvidia/tritonserver:{self.tag}-py3"


# NVIDIA's release notes name the CUDA of a container and not its TensorRT. Where nobody was found who does (26.01,
# 26.02, 26.04, 26.06, 26.09, 26.10) there is no line.
CONTAINERS: Final = (
    Container(tag="26.03", tensorrt="10.16.0.72", source="third parties that build for it"),
    Container(
        tag="26.05", tensorrt="10.16.1.11", source="NVIDIA's notes of PyTorch 26.05, quoted by a third party"
    ),
    Container(tag="26.07", tensorrt="11.1.0.106", source="third parties that build for it"),
    Container(tag="26.08", tensorrt="11.2.1.2", source="the TensorRT container of the same month, third parties"),
)


def find_container(tag: str) -> Container:
    """A container by its tag; one that is not in the table has no version.

    Raises:
        UsageError: no tag of a release.
    """
    if not TAG.match(tag):
        known = ", ".join(one.tag for one in CONTAINERS)
        raise UsageError(f"--container {tag!r} is no release; give YEAR.MONTH, such as {known}.")
    return next((one for one in CONTAINERS if one.tag == tag), Container(tag=tag, tensorrt=None))


def misfit(plan: Plan, container: Container) -> str | None:
    """Why a plan cannot be served in a container, as the beginning of a sentence; None where it can.

    None too where the container's TensorRT is not known.
    """
    version = container.tensorrt
    if version is None:
        return None
    if misfit_of(plan, name="TensorRT", version=version, target=plan.targets[0]) is None:
        return None
    return f"it was built with TensorRT {plan.version} and container {container.tag} has {version}"


def suitable(plans: Sequence[Plan]) -> list[Container]:
    """The containers of the table that serve every one of the plans, oldest first."""
    return [one for one in CONTAINERS if all(misfit(plan, one) is None for plan in plans)]
