"""Where a network runs and in what type, by name; and what is said when there is no room for it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from stvla_ros.errors import InputError

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def parse_device(device: str, parameter: str) -> torch.device:
    """
    :param device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
    :param parameter: its name for the error message.
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
    :param dtype: ``float32``, ``float16`` or ``bfloat16``; with a device also ``auto``: bfloat16 on CUDA, else float32.
    :raises InputError: for anything else.
    """
    if device is not None and dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        names = ("auto", *_DTYPES) if device is not None else tuple(_DTYPES)
        raise InputError(f"{parameter}: expected one of {', '.join(names)}, got {dtype!r}")
    return _DTYPES[dtype]


def set_threads(threads: int) -> None:
    """Let torch use this many cores in this process; 0 for half of those that the process may run on.

    OpenMP's threads spin while they wait for each other, so one for every core starves whatever else runs there, and is
    starved in turn: a simulator or a tracker on one of two cores makes two threads three times slower than one.

    :raises InputError: for anything but a whole number from 0 to the number of cores.
    """
    cores = len(os.sched_getaffinity(0))
    if type(threads) is not int or not 0 <= threads <= cores:
        raise InputError(f"threads: expected 0 (half the cores) to {cores}, got {threads!r}")
    torch.set_num_threads(threads or max(1, cores // 2))


@contextmanager
def memory_for(what: str) -> Iterator[None]:
    """:raises InputError: beginning with ``what``, when memory runs out inside."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # torch has a type of its own (a RuntimeError) for CUDA's failed allocations, and none for the CPU's.
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        raise InputError(f"{what}: out of memory; expected more free memory, a smaller dtype or model") from error
