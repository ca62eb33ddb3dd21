"""Checkpoints: written whole or not at all, checked when read, the newest two kept."""

from __future__ import annotations

import errno
import io
import os
import zipfile
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from sonarseg.errors import UserError
from sonarseg.files.whole import whole_file

CHECKPOINT = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"


class DamagedCheckpoint(Exception):
    """A file that is no whole checkpoint; the message says what is wrong with it."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` to `path`, so that at every moment a whole checkpoint lies there.

    The checkpoint before stays beside it as `checkpoint.previous.pt`.

    Raises
    ------
    OSError
        Where the disk is full or cannot be written; the checkpoints there are untouched.
    """
    with whole_file(path) as partial:
        with partial.open("wb", buffering=0) as file:
            _save(state, file)
            os.fsync(file.fileno())
        _keep_previous(path)
    _sync_folder(path.parent)


class _Told:
    """A file that remembers why it could not be written."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, content: bytes | memoryview) -> int:
        """Write all of it; a raw file may take a part at a time."""
        rest = memoryview(content).cast("B")
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.error = error
            raise
        return memoryview(content).nbytes

    def flush(self) -> None:
        """Do nothing: a raw file holds nothing back."""


def _save(state: dict[str, Any], file: io.FileIO) -> None:
    told = _Told(file)
    try:
        torch.save(state, cast(IO[bytes], told))
    except RuntimeError as error:
        # What torch raises on a full disk does not say so.
        if told.error is None:
            raise
        raise told.error from error
    finally:
        # It holds this frame, and so the whole run.
        told.error = None


def _keep_previous(path: Path) -> None:
    """Give the checkpoint a second name, so that `path` itself is never missing."""
    if not path.is_file():
        return
    second = path.with_name(PREVIOUS + ".partial")
    second.unlink(missing_ok=True)
    try:
        os.link(path, second)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        # A file system without hard links
        path.replace(path.with_name(PREVIOUS))
        return
    second.replace(path.with_name(PREVIOUS))
    # Renaming one name of a file to another name of the same file leaves both.
    second.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint, its checksums compared first.

    Raises
    ------
    UserError
        Where the file is missing or not a checkpoint of sonarseg.
    """
    if not path.is_file():
        if not (path.parent / "config.json").is_file():
            raise UserError(f"{path.parent} holds no run: name the folder of a trained run.")
        raise UserError(f"{path} is missing: train this run first, with `sonarseg run {path.parent}`.")
    try:
        return _read(path, device)
    except DamagedCheckpoint as damage:
        raise UserError(
            f"{path} cannot be read as a checkpoint ({damage}): `sonarseg run {path.parent}` goes on from "
            "the checkpoint before, or begins anew where there is none."
        ) from damage


def load_newest(run_dir: Path, device: torch.device) -> tuple[dict[str, Any] | None, list[str]]:
    """Read the newest whole checkpoint of a run that is to go on.

    A damaged one gives way to the one before, which takes its place.

    Returns
    -------
    dict or None
        The state; None where there is no whole checkpoint.
    list of str
        A sentence for each damaged file.
    """
    damaged: list[str] = []
    newest = run_dir / CHECKPOINT
    for path in (newest, run_dir / PREVIOUS):
        if not path.is_file():
            continue
        try:
            state = _read(path, device)
        except DamagedCheckpoint as damage:
            damaged.append(f"{path.name} was damaged ({damage})")
            continue
        if path != newest:
            path.replace(newest)
        return state, damaged
    return None, damaged


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is there and its checksums are right; it is read, but not kept in memory."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        try:
            _check(file)
        except DamagedCheckpoint:
            return False
    return True


def _check(file: BinaryIO) -> None:
    """Compare the checksums that torch has written and does not compare itself."""
    try:
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
    except MemoryError:
        raise
    except Exception as error:
        # A damaged file can make zipfile raise nearly anything.
        raise DamagedCheckpoint(type(error).__name__) from error
    if broken:
        raise DamagedCheckpoint(f"the checksum of its part {broken} is wrong")


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    content = io.BytesIO(path.read_bytes())
    _check(content)
    content.seek(0)
    try:
        state = torch.load(content, map_location=device, weights_only=True)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        # So can what is no checkpoint make torch.
        raise DamagedCheckpoint(type(error).__name__) from error
    if not isinstance(state, dict) or "network" not in state:
        raise DamagedCheckpoint("it holds no network")
    return state
