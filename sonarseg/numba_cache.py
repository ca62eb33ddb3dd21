"""Compilation by numba, kept on disk for as long as no compiled source changes.

numba itself looks at the file of the function alone, and would go on with machine code made from older
versions of the functions that it calls. So the folder of the machine code bears a hash of all of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numba
from llvmlite import binding
from numba import njit

_HERE = Path(__file__).absolute().parent


def sources_hash(folder: Path) -> str:
    """Hash the sources under a folder that take part in compilation, and numba's version."""
    found = hashlib.sha256(numba.__version__.encode())
    for path in sorted(folder.rglob("*.py")):
        text = path.read_bytes()
        if b"from numba" in text or b"sonarseg.numba_cache" in text:
            found.update(path.relative_to(folder).as_posix().encode() + b"\0" + text)
    return found.hexdigest()[:16]


@cache
def cache_folder() -> Path | None:
    """Folder of the machine code: beside the sources, or the person's own where these are read-only.

    None where neither can be written: then every process compiles for itself.
    """
    for base in _places():
        folder = base / f"compiled-{sources_hash(_HERE)}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


def _places() -> Iterator[Path]:
    yield Path(numba.config.CACHE_DIR) if numba.config.CACHE_DIR else _HERE / "__pycache__"
    # A user may have no home.
    with suppress(RuntimeError):
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sonarseg"


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit` without the interpreter's lock, cached in `cache_folder`; `options` are njit's."""

    def decorate(function: Callable[..., Any]) -> Any:
        folder = cache_folder()
        if folder is None:
            return njit(nogil=True, **options)(function)
        before = numba.config.CACHE_DIR
        # numba settles a function's place when it is decorated.
        numba.config.CACHE_DIR = str(folder)
        try:
            return njit(nogil=True, cache=True, **options)(function)
        finally:
            numba.config.CACHE_DIR = before

    return decorate


def compiled_before(what: str) -> bool:
    """Whether `note_compiled` was told of this, on this kind of processor, of these sources at this place."""
    folder = cache_folder()
    return folder is not None and (folder / _note(what)).is_file()


def note_compiled(what: str) -> None:
    """Note that machine code for this is on disk; where nothing can be kept, that is not noted either."""
    folder = cache_folder()
    if folder is not None:
        (folder / _note(what)).touch()


def _note(what: str) -> str:
    # numba finds its files by the path of the sources: those that moved are compiled anew.
    place = hashlib.sha256(str(_HERE).encode()).hexdigest()[:16]
    return f"{what}-{binding.get_host_cpu_name()}-{place}.compiled"
