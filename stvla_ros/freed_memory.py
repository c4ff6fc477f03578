"""Controls how the C library returns memory to the kernel."""

import ctypes
import os

# glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TOP_PAD_")
# The largest block that glibc can be told to keep (half of HEAP_MAX_SIZE, on 64 bits): a picture of 8 Mpx as float32,
# larger than any camera's.
_LARGEST_PICTURE = 2**25
# More than a node's messages, and everything computed from them, need at one time.
_MOST_FREE = 2**28


def keep_freed_memory(whatever_its_size: bool = False) -> None:
    """Keep freed memory for the next allocation. By default glibc returns most large blocks to the kernel and gets them
    back page by page, and the kernel fills each page with zeros. In a node that takes pictures this is half of its
    work, in training on two cores most of it (2.5 against 17.5 samples a second).

    Does nothing with other C libraries, nor where the environment already says how glibc allocates.

    :param whatever_its_size: whether blocks larger than pictures are kept as well, however much memory is free. Not for
        a process that loads weights once and needs no such memory afterwards.
    """
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(name in os.environ for name in _VARIABLES):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    if whatever_its_size:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    else:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_PICTURE)
        mallopt(_M_TRIM_THRESHOLD, _MOST_FREE)
