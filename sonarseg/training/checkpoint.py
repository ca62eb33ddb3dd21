"""Checkpoints: written whole or not at all, read without running code."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch

from sonarseg.errors import UserError

CHECKPOINT = "checkpoint.pt"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` beside `path` and move it into place, so that a reader never sees half a file."""
    partial = path.with_suffix(".partial")
    # By way of memory: on a full disk torch.save itself raises a RuntimeError that does not say so.
    content = io.BytesIO()
    torch.save(state, content)
    try:
        with partial.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint.

    Raises
    ------
    UserError
        Where the file is missing or not a checkpoint of sonarseg.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: train this run first, with `sonarseg run {path.parent}`.")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}): "
            "delete it and start the run again."
        ) from error
    if not isinstance(state, dict) or "network" not in state:
        raise UserError(f"{path} is not a checkpoint of sonarseg: it holds no network.")
    return state
