"""A function of tensors, recorded once as a CUDA graph and then replayed with one launch."""

from collections.abc import Callable

import torch

# Lazy initialisation in libraries must be over before the recording (torch's documentation of CUDA graphs).
_WARM_UPS = 3


class CudaGraph:
    """
    :param function: from tensors to one tensor; it must not wait for the device, and its shapes must not change.
    :param inputs: example inputs on one CUDA device; later ones have the same shapes and types.
    """

    def __init__(self, function: Callable[..., torch.Tensor], inputs: tuple[torch.Tensor, ...]) -> None:
        # The graph knows addresses alone: what the function holds (a cache) must live as long as the graph.
        self._function = function
        self._inputs = tuple(tensor.clone() for tensor in inputs)
        self._device = inputs[0].device
        with torch.cuda.device(self._device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UPS):
                    function(*self._inputs)
            torch.cuda.current_stream().wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._output = function(*self._inputs)

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        # The current device is each thread's own, and the replay goes there.
        with torch.cuda.device(self._device):
            for static, tensor in zip(self._inputs, inputs, strict=True):
                static.copy_(tensor)
            self._graph.replay()
            return self._output.clone()
