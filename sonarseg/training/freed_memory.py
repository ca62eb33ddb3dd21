"""Keeping the memory that torch frees between two steps, in place of faulting it in anew."""

from __future__ import annotations

import ctypes
import sys

# Of glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# The least that every version of glibc takes as the largest
_LARGEST_MAPPING = 32 * 2**20
_NEVER_TRIM = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next step, and say whether it does; elsewhere nothing changes.

    Otherwise it gives large buffers back to the system at once, and each step of a training on the CPU
    faults some 10^4 pages in again, a tenth of its time.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    kept = library.mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM)
    # The largest that this version takes
    mapped = library.mallopt(_M_MMAP_THRESHOLD, 2**30) or library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MAPPING)
    return bool(kept and mapped)
