"""Compilation by numba, kept on disk for as long as no compiled source changes.

numba itself looks at the file of the function alone, and would go on with machine code made from older
versions of the functions that it calls. So the folder of the machine code bears a hash of all of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from llvmlite import binding
from numba import njit


def sources_hash(folder: Path) -> str:
    """Hash the sources in a folder that take part in compilation, and numba's version."""
    found = hashlib.sha256(numba.__version__.encode())
    for path in sorted(folder.glob("*.py")):
        text = path.read_bytes()
        if b"from numba" in text or b"densecrf.compiled" in text:
            found.update(path.name.encode() + b"\0" + text)
    return found.hexdigest()[:16]


@cache
def cache_folder() -> Path:
    """Folder of the machine code: beside the sources, or the person's own where these are read-only."""
    here = Path(__file__).parent
    base = here / "__pycache__"
    if numba.config.CACHE_DIR:
        base = Path(numba.config.CACHE_DIR)
    elif not os.access(base if base.exists() else here, os.W_OK):
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sonarseg"
    return base / f"densecrf-{sources_hash(here)}"


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit` without the interpreter's lock, cached in `cache_folder`; `options` are njit's."""

    def decorate(function: Callable[..., Any]) -> Any:
        before = numba.config.CACHE_DIR
        # numba settles a function's place when it is decorated.
        numba.config.CACHE_DIR = str(cache_folder())
        try:
            return njit(nogil=True, cache=True, **options)(function)
        finally:
            numba.config.CACHE_DIR = before

    return decorate


def compiled_before(what: str) -> bool:
    """Whether `note_compiled` was told of this on this kind of processor, with these sources."""
    return _note(what).is_file()


def note_compiled(what: str) -> None:
    """Note that machine code for this is on disk; where nothing can be kept, that is not noted either."""
    if cache_folder().is_dir():
        _note(what).touch()


def _note(what: str) -> Path:
    return cache_folder() / f"{what}-{binding.get_host_cpu_name()}.compiled"
