"""Calls of PyTorch as CUDA graphs, on buffers of their own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, final

import torch
from torch import Tensor

from cgan_export.pytorch.network import Network

__all__ = ["CudaGraph", "GraphPerShape"]

WARM_UPS: Final = 3  # a call chooses its kernels and allocates in its first runs; none of that may be recorded
MOST_GRAPHS: Final = 32


@final
class CudaGraph:
    """What a call does, recorded once; a replay does it with what lies in the same tensors then.

    Args:
        call: puts its work on the current stream.
        pool: memory that graphs share which never run at once; None: memory of its own.
        stream: records; one of PyTorch's own by default.

    Attributes:
        outputs: what the call returned: where a replay writes.
    """

    def __init__(self, call: Callable[[], tuple[Tensor, ...]], *, pool: Any = None, stream: Any = None) -> None:
        beside = stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's, unannotated
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARM_UPS):
                call()
        torch.cuda.current_stream().wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool, stream=beside):
            self.outputs = call()

    def replay(self) -> None:
        """Do it again, on the current stream."""
        self._graph.replay()


@final
class GraphPerShape:
    """A network that runs as a CUDA graph, recorded when shapes come for the first time.

    The graphs of the last `MOST_GRAPHS` sets of shapes are kept. What it returns is overwritten by the next call.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._graphs: OrderedDict[tuple[torch.Size, ...], tuple[tuple[Tensor, ...], CudaGraph]] = OrderedDict()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs of inputs on the GPU."""
        key = tuple(value.shape for value in inputs)
        if key not in self._graphs:
            if len(self._graphs) >= MOST_GRAPHS:
                self._graphs.popitem(last=False)
            buffers = tuple(value.clone() for value in inputs)
            self._graphs[key] = buffers, CudaGraph(lambda: self._network(*buffers))
        self._graphs.move_to_end(key)
        buffers, graph = self._graphs[key]
        for buffer, value in zip(buffers, inputs, strict=True):
            buffer.copy_(value)
        graph.replay()
        return graph.outputs
