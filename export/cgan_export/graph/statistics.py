"""Give a generator's batch-norm layers the statistics it is used with, before it becomes a graph.

``per_sample``: mean and variance over the sample's own pixels, with the batch-norm's weight, bias and eps.
That is what pix2pix does at test time, where the batch is one image; written as instance normalisation it
no longer depends on the neighbours in a batch, and TensorRT accepts it (it refuses training-mode batch-norm).

``running``: the averages gathered in training, a constant affine map that the exporter folds into the
convolution before it. Right for generators that are sampled in evaluation mode (cDCGAN, SRGAN, ...).
"""

from __future__ import annotations

import copy

from cgan_runtime.contract import Contract, Statistics
from cgan_runtime.errors import UsageError
from cgan_trainer.generator import Generator
from cgan_trainer.nets.norm import normalised_per_sample
from torch import Tensor, nn

__all__ = ["PerSampleNorm", "with_statistics"]


class PerSampleNorm(nn.Module):
    """Batch normalisation of a batch of one: ``(x - mean) / sqrt(var + eps) * weight + bias`` per sample."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [N, C, H, W] over H and W; the variance is the biased one, as in batch-norm."""
        return normalised_per_sample(x, self.weight, self.bias, self.eps)


def _averaged(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """A plain batch-norm in evaluation mode, whatever a subclass does there."""
    plain = nn.BatchNorm2d(norm.num_features, eps=norm.eps, affine=norm.affine)
    plain.load_state_dict(norm.state_dict())
    return plain.eval()


def with_statistics(
    generator: Generator, contract: Contract, policy: Statistics | None
) -> tuple[Generator, Contract]:
    """A copy of the generator in evaluation mode under a policy, and the contract that says so.

    Args:
        generator: left as it is.
        contract: its contract.
        policy: None takes the contract's own policy.

    Raises:
        UsageError: a policy is asked of a generator without batch-norm, or running averages were not kept.
    """
    chosen: Statistics = policy or contract.statistics
    changed = copy.deepcopy(generator).eval()
    norms = [(name, m) for name, m in changed.named_modules() if isinstance(m, nn.BatchNorm2d)]
    vectors = [module for module in changed.modules() if isinstance(module, nn.BatchNorm1d)]
    if policy == "per_sample" and vectors:
        raise UsageError(
            "--statistics per_sample was given, but this generator normalises vectors, and one vector has no "
            "statistics of its own: leave --statistics out."
        )
    if policy and policy != "none" and not norms and not vectors:
        raise UsageError(f"--statistics {policy} was given, but this generator has no batch-norm layer.")
    if chosen == "running" and any(norm.running_mean is None for _, norm in norms):
        raise UsageError("--statistics running needs running averages, which this generator does not keep.")
    for name, norm in norms:
        parent, _, leaf = name.rpartition(".")
        setattr(
            changed.get_submodule(parent), leaf, PerSampleNorm(norm) if chosen == "per_sample" else _averaged(norm)
        )
    return changed, contract.model_copy(update={"statistics": chosen if norms else contract.statistics})
