"""A function of tensors, recorded once as a CUDA graph and then replayed with one launch."""

from collections.abc import Callable
from typing import Any

import torch

# Lazy initialisation in libraries must be over before the recording (torch's documentation of CUDA graphs).
_WARM_UPS = 3


class CudaGraph:
    """
    :param function: function from tensors to one tensor. It must not wait for the device, and its shapes must not
        change. Everything that it refers to lives as long as the graph, so it must not refer to the graph's owner.
    :param inputs: example inputs on one CUDA device; later ones have the same shapes and types.
    :param pool: memory pool, from ``torch.cuda.graph_pool_handle``. Graphs with the same pool share the memory that
        only replays need, so they must not be replayed at the same time. None for a pool of its own.
    """

    def __init__(
        self, function: Callable[..., torch.Tensor], inputs: tuple[torch.Tensor, ...], pool: Any = None
    ) -> None:
        # The graph knows only addresses: whatever the function refers to (a cache) must live as long as the graph.
        self._function = function
        self._inputs = tuple(tensor.clone() for tensor in inputs)
        self._device = inputs[0].device
        with torch.cuda.device(self._device):
            # A stream of this device. torch's own default is one stream for the whole process, of the first device in
            # use, and a recording on it for another device would be empty.
            stream = torch.cuda.Stream(self._device)
            stream.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UPS):
                    function(*self._inputs)
            torch.cuda.current_stream(self._device).wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            # thread_local: other threads (the perception's, in one process with the server) may use CUDA meanwhile.
            with torch.cuda.graph(self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                self._output = function(*self._inputs)

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        # Each thread has its own current device; the replay goes to that one.
        with torch.cuda.device(self._device):
            for static, tensor in zip(self._inputs, inputs, strict=True):
                static.copy_(tensor)
            self._graph.replay()
            return self._output.clone()
