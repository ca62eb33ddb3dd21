"""Files and folders that appear whole or not at all: written under another name, then moved into place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sonarseg.errors import UserError
from sonarseg.files.texts import read_text


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to, which takes the name `path` at the end; after an error nothing is left."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to write to, which replaces `folder` at the end or goes after an error."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text, on the disk before it takes its name."""
    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object as `write_atomically` does."""
    write_atomically(path, json.dumps(content, indent=1) + "\n")


def read_json(path: Path, advice: str) -> dict[str, Any]:
    """Read a JSON object; `advice` says what to do if it is damaged (UserError)."""
    try:
        content = json.loads(read_text(path))
    except UserError as error:
        raise UserError(f"{path} is damaged (it is not UTF-8 text): {advice}.") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): {advice}.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged (it holds no JSON object): {advice}.")
    return content
