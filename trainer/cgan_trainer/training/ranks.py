"""Several processes that train one generator, as torchrun starts them: gloo on CPUs, nccl on GPUs.

Every rank holds the same weights and takes its part of each batch; gradients are averaged over all of them before
a step. Batch norm is over the whole batch (nets/norm.py), so two ranks with a batch of b take the steps that one
takes with 2 b. torch's DistributedDataParallel expects one forward pass per backward pass, which a discriminator
does not have; what is left of it is the one call below.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from cgan_runtime.errors import UsageError
from torch import Tensor, nn

__all__ = ["ALONE", "Ranks", "joined"]


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: 0 to count - 1; only rank 0 writes files and prints.
        count: processes.
        local: this process's number on its machine, and of its GPU.
    """

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, begin: int, end: int) -> tuple[int, int]:
        """This rank's part of the images begin..end-1, whose number is a multiple of `count`."""
        part = (end - begin) // self.count
        return begin + self.rank * part, begin + (self.rank + 1) * part

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the ranks, in one message."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        pieces = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view(gradient.shape))

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the ranks, on every rank."""
        if self.count == 1:
            return values
        dist.all_reduce(values)
        return values / self.count

    def gather(self, values: Tensor) -> Tensor:
        """The tensors of all ranks, equal in shape, joined along the first axis in the order of ranks."""
        if self.count == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.count)]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    def any_of(self, *flags: bool) -> tuple[bool, ...]:
        """Each flag, true where it is true on any rank: all must stop at the same step."""
        if self.count == 1:
            return flags
        values = torch.tensor(flags, dtype=torch.int32, device=_device_of_messages())
        dist.all_reduce(values, op=dist.ReduceOp.MAX)
        return tuple(bool(value) for value in values.tolist())

    @contextlib.contextmanager
    def leader_first(self) -> Iterator[None]:
        """Rank 0 goes through the block alone, then the others."""
        if self.count > 1 and not self.leads:
            dist.barrier()
        yield
        if self.count > 1 and self.leads:
            dist.barrier()

    def from_leader(self, value: float) -> float:
        """Rank 0's value, on every rank."""
        if self.count == 1:
            return value
        message = torch.tensor([value], dtype=torch.float64, device=_device_of_messages())
        dist.broadcast(message, src=0)
        return float(message)


ALONE = Ranks()


@contextlib.contextmanager
def joined(device_type: str) -> Iterator[Ranks]:
    """Join the other processes where torchrun started several, else be alone.

    Raises:
        UsageError: there are more processes than GPUs on this machine.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device_type == "cuda":
        if local >= torch.cuda.device_count():
            raise UsageError(
                f"torchrun started process {local} of this machine, which has {torch.cuda.device_count()} GPUs: "
                "give --nproc-per-node the number of GPUs, or --device cpu."
            )
        torch.cuda.set_device(local)
    # torch imports this while it trains, and its functions have the group as a default argument: imported after the
    # group was made it would keep it, with threads that abort the process now and then when the interpreter ends.
    importlib.import_module("torch.distributed.nn.functional")
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo")
    try:
        yield Ranks(rank=dist.get_rank(), count=count, local=local)
    finally:
        dist.destroy_process_group()


def _device_of_messages() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
