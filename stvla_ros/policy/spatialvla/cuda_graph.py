"""A function of tensors, recorded once as a CUDA graph and then replayed with one launch."""

from collections.abc import Callable

import torch

# Lazy initialisation in libraries must be over before the recording (torch's documentation of CUDA graphs).
_WARM_UPS = 3


class CudaGraph:
    """
    :param function: from tensors to one tensor; it must not wait for the device, and its shapes must not change.
    :param inputs: example inputs on one CUDA device; later ones have the same shapes and types.
    :param pool: memory pool to share with other graphs that never run at the same time.
    """

    def __init__(self, function: Callable[..., torch.Tensor], inputs: tuple[torch.Tensor, ...], pool=None) -> None:
        self._inputs = tuple(tensor.clone() for tensor in inputs)
        device = inputs[0].device
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                function(*self._inputs)
        torch.cuda.current_stream(device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool):
            self._output = function(*self._inputs)

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        for static, tensor in zip(self._inputs, inputs, strict=True):
            static.copy_(tensor)
        self._graph.replay()
        return self._output.clone()
