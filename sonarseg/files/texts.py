"""Text files that a person may have saved in an editor: one way of reading them all."""

from __future__ import annotations

import codecs
import re
import unicodedata
from pathlib import Path

from sonarseg.errors import UserError

_OTHER_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BYTE_ORDER_MARK = "\ufeff"


def control_character(text: str) -> str | None:
    """First control character of a text, as an escape sequence; None if there is none."""
    return next((ascii(char)[1:-1] for char in text if unicodedata.category(char) == "Cc"), None)


def read_text(path: Path) -> str:
    """Read a UTF-8 text file, with or without byte-order marks; every end of line becomes a line feed.

    Raises
    ------
    FileNotFoundError
        If there is no such file: its reader knows whether that is wrong.
    UserError
        If it cannot be read, or is not UTF-8.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): expected a text file that you may read."
        ) from error
    # UTF-16 without its mark is valid UTF-8 in which every other character is NUL.
    if content.startswith(_OTHER_MARKS) or b"\0" in content:
        raise UserError(f"{path} is not UTF-8 text but UTF-16, UTF-32 or no text at all: save it as UTF-8.")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path} is not UTF-8 text (line {line} is not): save it as UTF-8.") from error
    # Files that were put together have marks inside as well, and no editor shows them.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return re.sub(f"^{_BYTE_ORDER_MARK}+", "", text, flags=re.MULTILINE)
