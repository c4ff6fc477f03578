"""What a GPU would run for a chunk, counted without one: the network on torch's meta device, in inference mode.

A kernel is an operation that makes or changes a tensor; views are none, nor is memory that is not filled. A product and
its scale are one; so are an RMS norm and torch's attention, which have kernels of their own on a GPU. Bytes are those
of an operation's inputs and outputs, operations of arithmetic are counted for products alone. The bound of a kernel is
the larger of the two over what the GPU does in a second by its data sheet, and at least ``LAUNCH_US``, which a kernel
in a CUDA graph takes however little it does.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

LAUNCH_US = 1.5
_NO_KERNEL = ("empty", "new_empty", "empty_like", "empty_strided", "set_")
_CONVOLUTIONS = ("convolution", "conv2d", "conv_transpose2d")
_PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "linear", "matmul", "scaled_dot_product_attention", *_CONVOLUTIONS)


@dataclass(frozen=True)
class Gpu:
    """:param bytes_s: of its memory. :param flops: dense bfloat16. :param memory_gb: 1e9 bytes."""

    bytes_s: float
    flops: float
    memory_gb: float


# NVIDIA's data sheets: H100 SXM5, H200 SXM5, GeForce RTX 4090 (Ada whitepaper, with float32 sums).
GPUS = {
    "H100": Gpu(3.35e12, 989e12, 80.0),
    "H200": Gpu(4.8e12, 989e12, 141.0),
    "RTX 4090": Gpu(1.008e12, 165e12, 24.0),
}


@dataclass
class Kernels:
    """What ran.

    :param names: how often each operation did.
    :param costs: bytes and operations of arithmetic of each kernel.
    """

    names: Counter[str] = field(default_factory=Counter)
    costs: list[tuple[int, int]] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.costs)

    @property
    def products(self) -> int:
        return sum(count for name, count in self.names.items() if name in _PRODUCTS)

    @property
    def bytes(self) -> int:
        return sum(read for read, _ in self.costs)

    def bound_ms(self, gpu: Gpu, launch_us: float = LAUNCH_US) -> float:
        """What the kernels take at least, one after the other."""
        return sum(max(moved / gpu.bytes_s, flops / gpu.flops, launch_us * 1e-6) for moved, flops in self.costs) * 1e3


class _Counter(TorchDispatchMode):
    def __init__(self, kernels: Kernels) -> None:
        super().__init__()
        self._kernels = kernels

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = function._schema.name.removeprefix("aten::")
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        made = [each for each in tree_leaves(result) if isinstance(each, torch.Tensor)]
        known = {tensor.untyped_storage()._cdata for tensor in given}
        new = [tensor for tensor in made if tensor.untyped_storage()._cdata not in known]
        if name not in _NO_KERNEL and (new or function._schema.is_mutable):
            moved = sum(
                tensor.numel() * tensor.itemsize for tensor in {id(each): each for each in given + new}.values()
            )
            self._kernels.names[name] += 1
            self._kernels.costs.append((moved, _flops(name, given, made)))
        return result


def _flops(name: str, given: list[torch.Tensor], made: list[torch.Tensor]) -> int:
    if name not in _PRODUCTS:
        return 0
    if name == "scaled_dot_product_attention":
        return 4 * given[0].numel() * given[1].shape[-2]
    if name in _CONVOLUTIONS:
        # Each number of the output gets a kernel's products; transposed, each of the input goes into one.
        return 2 * (given if name == "conv_transpose2d" else made)[0].numel() * given[1][0].numel()
    # The sum runs over the last dimension of the first factor; the first input of addmm and baddbmm is what is added.
    factor = given[1] if name in ("addmm", "baddbmm") else given[0]
    return 2 * made[0].numel() * factor.shape[-1]


@contextmanager
def counted_kernels() -> Iterator[Kernels]:
    """What runs inside on the meta device."""
    kernels = Kernels()
    with torch.inference_mode(), _Counter(kernels):
        yield kernels


def kernels_of(call: Callable[[], object]) -> Kernels:
    with counted_kernels() as kernels:
        call()
    return kernels
