"""Tells whether a device can be used, without importing torch, which takes seconds."""

import ctypes
import importlib.util
import re
from functools import cache
from pathlib import Path

from stvla_ros.errors import InputError

_BUILD = re.compile(r"^(cuda|hip)[^=\n]*= *'", re.MULTILINE)


def check_device_name(device: object, parameter: str) -> re.Match[str]:
    """:raises InputError: for anything but auto, cpu, cuda and cuda:N."""
    found = re.fullmatch(r"auto|cpu|cuda(?::(\d{1,9}))?", device) if isinstance(device, str) else None
    if not found:
        raise InputError(f"{parameter}: expected auto, cpu, cuda or cuda:N, got {device!r}")
    return found


def check_device(device: object, parameter: str) -> None:
    """:raises InputError: for anything but auto, cpu, cuda and cuda:N, or a CUDA device that is not there."""
    found = check_device_name(device, parameter)
    if found[0].startswith("cuda") and (count := cuda_devices()) is not None and int(found[1] or 0) >= count:
        raise InputError(f"{parameter}: {device!r} asked for, but torch sees {count} CUDA devices; use 'cpu' or 'auto'")


@cache
def cuda_devices() -> int | None:
    """The number of CUDA devices that torch will see; None if only torch can tell."""
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        return None
    version = Path(torch.origin).with_name("version.py")
    try:
        built_for = _BUILD.search(version.read_text(encoding="utf-8"))
    except OSError:
        return None
    if built_for is None:
        return 0  # a build for the processor alone
    if built_for[1] != "cuda":
        return None
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    usable = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if usable else 0
