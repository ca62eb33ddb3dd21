"""Reading NumPy files from several threads at once."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np

# np.load reads the header with `ast`, and CPython 3.11 counts the recursion of its constructor for all
# threads together: two at once raise SystemError now and then (python/cpython issue 106905).
_one_at_a_time = Lock()


def load_array(path: Path, mmap_mode: Literal["r"] | None = None) -> Any:
    """np.load without pickles, safe in threads; raises what np.load raises."""
    with _one_at_a_time:
        return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
