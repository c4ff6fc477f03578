"""Functions of tensors, compiled by torch's Inductor while a policy warms up.

What stands between two products of a network is then one kernel in place of several: on a GPU each takes a microsecond
or two, however little it does. The products stay what they are.

Inductor alone, without Dynamo: a function is traced for the shapes that it is called with, and for others, or once the
warm-up is over, it simply runs. So nothing is ever compiled while a robot waits, and nothing is checked at a call but
the shapes. Inductor takes 74 MB and a second to import, so it is only imported where something is compiled.
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from stvla_ros.errors import reason_of

# What Triton makes code for.
_OLDEST_CAPABILITY = (7, 0)
# Largest distance of a part's answers, of their length. In 16 bits torch rounds between the operations: scores up to
# the cap of 50 by 0.2, which the weights made of them follow by a quarter. Another order of numbers is 1 apart.
_APART = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 0.5, torch.bfloat16: 0.5}
# Inductor's own variable for where compiled code is kept.
_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def are_worth_it(device: torch.device) -> bool:
    """Whether parts are compiled unless somebody says otherwise: on GPUs, where Triton is at hand, which Inductor
    writes for. On a CPU nothing is gained by it (docs/reference/policy.md).
    """
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= _OLDEST_CAPABILITY


def default_folder() -> Path:
    """Where compiled code is kept for the next start: the user's own cache (XDG Base Directory Specification).
    Inductor's default is a folder in /tmp whose name anybody can foresee, and what lies there is run.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # A relative path there is to be ignored.
    folder = Path(cache) if cache.startswith("/") else Path.home() / ".cache"
    return folder / "stvla_ros" / "inductor"


class Compiler:
    """Makes parts out of functions.

    :param enabled: False for parts that are the functions themselves.
    """

    def __init__(self, enabled: bool = True) -> None:
        self._enabled, self._compiles = enabled, False

    @property
    def enabled(self) -> bool:
        """Whether parts are compiled: not any more once that has failed."""
        return self._enabled

    def part(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """
        :param function: from tensors to a tensor or a tuple of them, of which it may change the first ones' content.
        :returns: what does the same, up to rounding.
        """
        return _Part(self, function) if self._enabled else function

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Parts that are called inside are compiled for what they are called with. Where that fails (no compiler, no
        room for its files), one line says so, and from then on all functions run as they are.
        """
        self._compiles = self._enabled
        try:
            yield
        finally:
            self._compiles = False

    def first_call(self, function: Callable[..., Any], tensors: tuple[torch.Tensor, ...]) -> tuple[Any, Any]:
        """:returns: what was compiled, or None; and the answer of this call."""
        if not self._compiles:
            return None, function(*tensors)
        before = tuple(tensor.clone() for tensor in tensors)
        try:
            compiled = _compile(function, tensors)
            # Here too: Triton compiles and tries its variants when a kernel first runs.
            answer = compiled(*tensors)
            _compare((answer, tensors), (function(*before), before))
            return compiled, answer
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # of compilers, linkers, disks and libraries
            self._enabled = self._compiles = False
            print(f"note: compiled_parts: goes on without, nothing is compiled: {reason_of(error)}", file=sys.stderr)
            return None, function(*tensors)


class _Part:
    def __init__(self, compiler: Compiler, function: Callable[..., Any]) -> None:
        self._compiler, self._function = compiler, function
        self._known: dict[tuple, Callable[..., Any]] = {}

    def __call__(self, *tensors: torch.Tensor) -> Any:
        if not self._compiler.enabled:
            return self._function(*tensors)
        signature = tuple((tensor.shape, tensor.stride(), tensor.dtype, tensor.device) for tensor in tensors)
        known = self._known.get(signature)
        if known is not None:
            return known(*tensors)
        compiled, answer = self._compiler.first_call(self._function, tensors)
        if compiled is not None:
            self._known[signature] = compiled
        return answer


def _compare(found: Any, expected: Any) -> None:
    """:raises ValueError: for what is farther apart than rounding explains: a compiler has its faults, too."""
    for one, other in zip(tree_leaves(found), tree_leaves(expected), strict=True):
        if not other.is_floating_point():
            continue
        whole = other.float()
        apart = torch.linalg.vector_norm(one.float() - whole)
        # Not a number is not less than anything.
        if not bool(apart <= _APART[other.dtype] * torch.linalg.vector_norm(whole)):
            raise ValueError("what was compiled gives other numbers than the function")


def _compile(function: Callable[..., Any], tensors: tuple[torch.Tensor, ...]) -> Callable[..., Any]:
    if _CACHE_VARIABLE not in os.environ:
        folder = default_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ[_CACHE_VARIABLE] = str(folder)
    import torch._inductor as inductor
    from torch._inductor import config
    from torch.fx.experimental.proxy_tensor import make_fx

    # In this process: its own would be one for each core, each with torch in it, and they stay.
    with config.patch(compile_threads=1):
        return inductor.compile(make_fx(function, tracing_mode="fake")(*tensors), list(tensors))
