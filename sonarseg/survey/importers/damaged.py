"""What the readers of archives and workbooks raise on damaged files."""

from __future__ import annotations

import struct
import zipfile
import zlib

# RuntimeError stands for a password, and for a method of compression that is not known here.
DAMAGED = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    LookupError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def reason(error: BaseException) -> str:
    """Short text of an error, on one line."""
    return " ".join(str(error).split())[:100] or type(error).__name__
