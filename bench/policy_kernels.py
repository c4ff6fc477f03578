"""Counts what a GPU would run for a chunk, without one: the network runs on torch's meta device, in inference mode.

A kernel is an operation that makes or changes a tensor. Views do not count, nor does memory that is not filled. A
product and its scale are one kernel; so are an RMS norm and torch's attention, which have kernels of their own on a
GPU. Compiled code counts as many kernels as Inductor makes: it generates the Triton code of these shapes for an H200,
without a GPU and without Triton, and its kernels are counted. Bytes are those of an operation's inputs and outputs;
arithmetic operations are counted for products alone. The bound of a kernel is the larger of the two divided by the
GPU's rate in its data sheet, and at least ``LAUNCH_US``, which a kernel in a CUDA graph takes however little it does.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes, _get_current_dispatch_mode
from torch.utils._pytree import tree_leaves

from stvla_ros.policy.compiled_parts import Compiler

LAUNCH_US = 1.5
_NO_KERNEL = ("empty", "new_empty", "empty_like", "empty_strided", "set_")
_CONVOLUTIONS = ("convolution", "conv2d", "conv_transpose2d")
_PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "linear", "matmul", "scaled_dot_product_attention", *_CONVOLUTIONS)


@dataclass(frozen=True)
class Gpu:
    """:param bytes_s: bandwidth of its memory, bytes a second. :param flops: dense bfloat16, 1/s. :param memory_gb: 1e9
    bytes.
    """

    bytes_s: float
    flops: float
    memory_gb: float


# NVIDIA's data sheets: H100 SXM5, H200 SXM5, GeForce RTX 4090 (Ada whitepaper, with float32 sums).
GPUS = {
    "H100": Gpu(3.35e12, 989e12, 80.0),
    "H200": Gpu(4.8e12, 989e12, 141.0),
    "RTX 4090": Gpu(1.008e12, 165e12, 24.0),
}
# Properties of a GPU that Inductor asks for (NVIDIA's data sheet and the CUDA programming guide, compute capability
# 9.0).
_H200 = {
    "type": "cuda",
    "index": 0,
    "multi_processor_count": 132,
    "cc": 90,
    "major": 9,
    "regs_per_multiprocessor": 65536,
    "max_threads_per_multi_processor": 2048,
    "max_threads_per_block": 1024,
    "warp_size": 32,
}


@dataclass
class Kernels:
    """The kernels that ran.

    :param names: number of runs of each operation.
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
        """The least time of the kernels, one after the other."""
        return sum(max(moved / gpu.bytes_s, flops / gpu.flops, launch_us * 1e-6) for moved, flops in self.costs) * 1e3


class _Counter(TorchDispatchMode):
    def __init__(self, kernels: Kernels) -> None:
        super().__init__()
        self.kernels = kernels

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = function._schema.name.removeprefix("aten::")
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        made = [each for each in tree_leaves(result) if isinstance(each, torch.Tensor)]
        known = {tensor.untyped_storage()._cdata for tensor in given}
        new = [tensor for tensor in made if tensor.untyped_storage()._cdata not in known]
        if name not in _NO_KERNEL and (new or function._schema.is_mutable):
            # Of a tensor that is written into, only the written part counts.
            moved = _bytes(
                [*given[1:], given[-1]] if name == "index_copy_" else {id(each): each for each in given + new}.values()
            )
            self.kernels.names[name] += 1
            self.kernels.costs.append((moved, _flops(name, given, made)))
        return result


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.itemsize for tensor in tensors)


class CountedCompiler(Compiler):
    """Its parts count as the kernels that Inductor would make of them for a GPU; nothing is compiled."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[tuple, int] = {}

    def part(self, function: Callable[..., Any]) -> Callable[..., Any]:
        what = getattr(function, "func", function)
        settings = tuple(getattr(function, "keywords", {}).items())

        def counted(*tensors: torch.Tensor) -> Any:
            counter = _get_current_dispatch_mode()
            if not isinstance(counter, _Counter):
                return function(*tensors)
            called = what, settings, *((tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors)
            with _disable_current_modes():
                if called not in self._counts:
                    self._counts[called] = inductor_kernels(function, tensors)
                with _Counter(Kernels()) as inside:
                    result = function(*tensors)
            # Of a cache that is written into, only the written part counts: the part's other inputs.
            cache = max(tensors, key=torch.numel) if "index_copy_" in inside.kernels.names else None
            moved = _bytes([*(tensor for tensor in tensors if tensor is not cache), *tree_leaves(result)])
            count = self._counts[called]
            counter.kernels.names[what.__name__.strip("_")] += count
            counter.kernels.costs += [(moved // count, 0)] * count
            return result

        return counted


def inductor_kernels(function: Callable[..., Any], tensors: Sequence[torch.Tensor]) -> int:
    """The number of kernels that Inductor makes of a function for an H200.

    :param tensors: tensors with the function's shapes, strides and types; without memory.
    """
    # This uses private parts of torch, whose version is pinned.
    from torch._inductor import compile as compile_graph
    from torch._inductor import config, metrics
    from torch._inductor.graph import GraphLowering
    from torch._inductor.runtime.hints import DeviceProperties
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    class Written(Exception):
        pass

    def stop(code: str) -> None:
        raise Written

    patches = (
        # For tensors on a CPU, where torch has no CUDA, it writes code that would run on a GPU.
        config.patch(cpu_backend="triton", compile_threads=1, fx_graph_cache=False),
        patch.object(DeviceProperties, "create", classmethod(lambda cls, device: cls(**_H200))),
        patch("torch.utils._triton.triton_hash_with_backend", lambda: ""),
        patch.object(GraphLowering, "save_output_code", stop),
    )
    with ExitStack() as stack:
        for each in (*patches, FakeTensorMode()):
            stack.enter_context(each)
        given = [torch.empty_strided(each.shape, each.stride(), dtype=each.dtype) for each in tensors]
        metrics.reset()
        try:
            compile_graph(make_fx(function)(*given), given)
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, Written):
                cause = cause.__cause__ or cause.__context__
            if cause is None:
                raise
        return metrics.generated_kernel_count


def _flops(name: str, given: list[torch.Tensor], made: list[torch.Tensor]) -> int:
    if name not in _PRODUCTS:
        return 0
    if name == "scaled_dot_product_attention":
        return 4 * given[0].numel() * given[1].shape[-2]
    if name in _CONVOLUTIONS:
        # Each number of the output takes a kernel's products; in a transposed convolution, each number of the input
        # does.
        return 2 * (given if name == "conv_transpose2d" else made)[0].numel() * given[1][0].numel()
    # The sum runs over the last dimension of the first factor; the first input of addmm and baddbmm is added.
    factor = given[1] if name in ("addmm", "baddbmm") else given[0]
    return 2 * made[0].numel() * factor.shape[-1]


@contextmanager
def counted_kernels() -> Iterator[Kernels]:
    """The kernels that run inside, on the meta device."""
    kernels = Kernels()
    with torch.inference_mode(), _Counter(kernels):
        yield kernels


def kernels_of(call: Callable[[], object]) -> Kernels:
    with counted_kernels() as kernels:
        call()
    return kernels
