"""Whether two loops take the same step: identical weights, images and dropout masks in, then compared.

    losses      largest absolute difference of the four: G_GAN, G_L1 (weighted), D_real, D_fake
    gradients   |difference| / |gradient|, Euclidean, over all weights of G and D
    weights     largest difference of a weight's step / the learning rate

FP32 adds the same numbers in another order, so nothing is equal to the bit; batch norm over the few values of the
innermost layers magnifies that. Adam's first step is nearly the sign of the gradient, and where the gradient is
itself rounding noise the sign may go either way: steps are compared where it is a tenth or more of the largest of
its tensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cgan_bench.train.loops import Loop, Setup

__all__ = ["LIMITS", "Difference", "compare"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far one step of two loops differs; the top of the file defines the figures."""

    losses: float
    gradients: float
    weights: float

    @property
    def within_limits(self) -> bool:
        """The same result at FP32. A value that is not a number is not."""
        return all(getattr(self, field.name) <= getattr(LIMITS, field.name) for field in fields(self))

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:.1e}" for name, value in asdict(self).items())


LIMITS: Final = Difference(losses=1e-3, gradients=2e-3, weights=1e-3)
CERTAIN: Final = 0.1


def compare(plain: Loop, ours: Loop, setup: Setup, batch: int) -> Difference:
    """One step of each, at the sizes that are measured. Torch is imported here, in a worker."""
    import torch

    from cgan_bench.train.ours import open_run
    from cgan_bench.train.plain import PlainTraining

    if setup.threads:
        torch.set_num_threads(setup.threads)
    # TF32 rounds products to 10 bits: a GPU's matter, not the loop's.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    run = open_run(ours, setup, batch)
    generator, discriminator = (run.recipe.networks[name] for name in ("generator", "discriminator"))
    other = PlainTraining(
        size=setup.size, ngf=setup.ngf, ndf=setup.ndf, lambda_l1=plain.lambda_l1, device=plain.device
    )
    other.generator.load_state_dict(generator.state_dict())
    other.discriminator.load_state_dict(discriminator.state_dict())
    given = run.feed.batch(0, batch)
    our_losses = run.step()
    masks = [given[noise.name].contiguous() for noise in other.generator.contract.noise]
    plain_losses = other.step(given["condition"].contiguous(), given["target"].contiguous(), masks)
    mine = _weights(generator, discriminator)
    theirs = _weights(other.generator, other.discriminator)
    return Difference(
        losses=max(abs(plain_losses[name] - value) for name, value in our_losses.items()),
        gradients=_gradient_difference(theirs, mine),
        weights=max(_step_difference(weight, mine[name]) / run.config.lr for name, weight in theirs.items()),
    )


def _weights(generator: nn.Module, discriminator: nn.Module) -> dict[str, Tensor]:
    named: list[tuple[str, Tensor]] = [(f"G.{name}", value) for name, value in generator.named_parameters()]
    named += [(f"D.{name}", value) for name, value in discriminator.named_parameters()]
    return dict(named)


def _gradient(weight: Tensor) -> Tensor:
    assert weight.grad is not None  # noqa: S101 - both loops leave their gradients behind
    return weight.grad.detach()


def _gradient_difference(plain: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> float:
    pairs = [(_gradient(plain[name]), _gradient(ours[name])) for name in plain]
    apart = sum(float((one - other).double().square().sum()) for one, other in pairs)
    whole = sum(float(one.double().square().sum()) for one, _ in pairs)
    return math.sqrt(apart / whole)


def _step_difference(plain: Tensor, ours: Tensor) -> float:
    """The largest difference of a weight whose gradient is clearly not zero."""
    sizes = _gradient(plain).abs()
    certain = sizes >= sizes.max() * CERTAIN
    return float((plain - ours).detach()[certain].abs().max())
