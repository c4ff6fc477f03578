"""Functions of tensors, compiled by torch's Inductor while a policy warms up.

Everything between two products of a network then runs as one kernel instead of several. On a GPU each kernel takes a
microsecond or two, however little it does. The products themselves are unchanged.

Inductor is used without Dynamo. A function is compiled for the shapes of its first calls during the warm-up. For other
shapes, and after the warm-up, it runs uncompiled. So nothing is ever compiled while a robot waits, and a call checks
nothing but the shapes. Importing Inductor takes 74 MB and a second, so this happens only where something is compiled.
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

# Devices that Triton generates code for.
_OLDEST_CAPABILITY = (7, 0)
# Largest allowed difference between a compiled part's answer and the function's, relative to the answer's length. In 16
# bits torch rounds between operations: scores near the cap of 50 are rounded by 0.2, which changes the weights computed
# from them by a quarter. Numbers in the wrong order differ by 1.
_APART = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 0.5, torch.bfloat16: 0.5}
# Inductor's own environment variable for the folder of compiled code.
_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def are_worth_it(device: torch.device) -> bool:
    """Whether parts are compiled by default: on GPUs with Triton, which Inductor generates code for. On a CPU it brings
    nothing (docs/reference/policy.md).
    """
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= _OLDEST_CAPABILITY


def default_folder() -> Path:
    """Folder in which compiled code is kept for the next start: the user's own cache (XDG Base Directory
    Specification). Inductor's default is a folder in /tmp with a predictable name, and the code found there is
    executed. Another user could put code there.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # The specification says that a relative path is ignored.
    folder = Path(cache) if cache.startswith("/") else Path.home() / ".cache"
    return folder / "stvla_ros" / "inductor"


class Compiler:
    """Makes compiled parts from functions.

    :param enabled: False to leave the functions as they are.
    """

    def __init__(self, enabled: bool = True) -> None:
        self._enabled, self._compiles = enabled, False

    @property
    def enabled(self) -> bool:
        """Whether parts are compiled; False after a compilation has failed."""
        return self._enabled

    def part(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """
        :param function: function from tensors to a tensor or a tuple of tensors; it may change the contents of the
            first ones.
        :returns: a callable with the same results up to rounding.
        """
        return _Part(self, function) if self._enabled else function

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Compile the parts that are called inside, for the shapes of these calls. If that fails (no compiler, no room
        for its files), one line says so, and from then on all functions run uncompiled.
        """
        self._compiles = self._enabled
        try:
            yield
        finally:
            self._compiles = False

    def first_call(self, function: Callable[..., Any], tensors: tuple[torch.Tensor, ...]) -> tuple[Any, Any]:
        """:returns: the compiled function, or None; and the answer of this call."""
        if not self._compiles:
            return None, function(*tensors)
        before = tuple(tensor.clone() for tensor in tensors)
        try:
            compiled = _compile(function, tensors)
            # In this block as well: Triton compiles and tries its variants when a kernel first runs.
            answer = compiled(*tensors)
            _compare((answer, tensors), (function(*before), before))
            return compiled, answer
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # of compilers, linkers, disks and libraries
            self._enabled = self._compiles = False
            print(f"note: compiled_parts: continues without, nothing is compiled: {reason_of(error)}", file=sys.stderr)
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
    """:raises ValueError: when the answers differ by more than rounding explains: compilers have bugs, too."""
    for one, other in zip(tree_leaves(found), tree_leaves(expected), strict=True):
        if not other.is_floating_point():
            continue
        whole = other.float()
        apart = torch.linalg.vector_norm(one.float() - whole)
        # NaN compares as False.
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

    # Compile in this process. Inductor would otherwise start one process for each core, each with torch loaded, and
    # keep them.
    with config.patch(compile_threads=1):
        return inductor.compile(make_fx(function, tracing_mode="fake")(*tensors), list(tensors))
