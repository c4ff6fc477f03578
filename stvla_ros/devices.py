"""Parses the names of devices and number types, and reports when memory runs out."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from stvla_ros.errors import DeviceLost, InputError, reason_of

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def parse_device(device: str, parameter: str) -> torch.device:
    """
    :param device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
    :param parameter: name of the parameter in the error.
    :raises InputError: for anything else, or CUDA where there is none.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        parsed = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{parameter}: expected auto, cpu, cuda or cuda:N, got {device!r}") from error
    if parsed.type not in ("cpu", "cuda"):
        raise InputError(f"{parameter}: expected auto, cpu, cuda or cuda:N, got {device!r}")
    if parsed.type == "cuda" and (parsed.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"{parameter}: {device!r} asked for, but torch sees {torch.cuda.device_count()} CUDA devices; "
            "use 'cpu' or 'auto'"
        )
    return parsed


def parse_dtype(dtype: str, parameter: str, device: torch.device | None = None) -> torch.dtype:
    """
    :param dtype: ``float32``, ``float16`` or ``bfloat16``; with a device also ``auto``: bfloat16 on CUDA devices that
        compute in it, else float32.
    :raises InputError: for anything else.
    """
    if device is not None and dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" and has_bfloat16(device) else torch.float32
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        names = ("auto", *_DTYPES) if device is not None else tuple(_DTYPES)
        raise InputError(f"{parameter}: expected one of {', '.join(names)}, got {dtype!r}")
    return _DTYPES[dtype]


def has_bfloat16(device: torch.device | int) -> bool:
    """Whether a CUDA device computes in bfloat16 by itself. Older ones (before compute capability 8) emulate it with
    float32 and conversions: slower than either, and as coarse.
    """
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 by itself. Processors without these instructions convert to float32 and
    back: a product of matrices takes up to twenty times as long.
    """
    if device.type == "cuda":
        return has_bfloat16(device)
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def free_memory() -> None:
    """Free memory that nothing refers to any more, before something large is loaded in its place."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def wait_for_device(device: torch.device) -> None:
    """Wait until a CUDA device has done everything that this thread asked of it. The thread sleeps: torch's own waiting
    would keep a core busy that the perception could use. Other devices are done when a call returns.
    """
    if device.type == "cuda":
        event = torch.cuda.Event(blocking=True)
        event.record(torch.cuda.current_stream(device))
        event.synchronize()


@contextmanager
def own_queue(device: torch.device) -> Iterator[None]:
    """What this thread asks of a CUDA device inside has a stream of its own. So neither it nor other threads wait for
    each other; they still share the device.

    :param device: device of the network; on a CPU nothing is done.
    """
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.Stream(device)
    with torch.cuda.stream(stream):
        yield


def set_threads(threads: int) -> None:
    """Let torch use this many cores in this process; 0 for half of those that the process may run on.

    OpenMP's threads spin while they wait for each other. With one thread for every core they slow down all other work
    there, and are slowed down by it: a simulator or a tracker on one of two cores makes two threads three times slower
    than one.

    :raises InputError: for anything but a whole number from 0 to the number of cores.
    """
    cores = len(os.sched_getaffinity(0))
    if type(threads) is not int or not 0 <= threads <= cores:
        raise InputError(f"threads: expected 0 (half the cores) to {cores}, got {threads!r}")
    torch.set_num_threads(threads or max(1, cores // 2))


@contextmanager
def memory_for(what: str) -> Iterator[None]:
    """
    :raises InputError: when memory runs out inside; the message begins with ``what``.
    :raises DeviceLost: after a CUDA error inside that all later calls of this process will repeat; the message begins
        with ``what``.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # torch has its own type (a RuntimeError) for CUDA's failed allocations, and none for the CPU's.
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error):
            raise InputError(f"{what}: out of memory; expected more free memory, a smaller dtype or model") from error
        if torch.cuda.is_initialized() and not _cuda_answers():
            raise DeviceLost(f"{what}: CUDA is lost for this process ({reason_of(error)})") from error
        raise


def _cuda_answers() -> bool:
    # The kind of the error does not tell. Some errors (an illegal address, an assertion in a kernel) end the CUDA
    # context for good, others do not, and which ones depends on the driver. After a lost context, any next call fails.
    try:
        torch.cuda.synchronize()
        return bool(torch.ones(1, device="cuda").item())
    except torch.OutOfMemoryError:
        return True
    except RuntimeError:
        return False
