"""CAM scores on disk: one float16 file a tile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.array_files import load_array
from sonarseg.errors import UserError


def write_cam(path: Path, scores: NDArray[np.floating]) -> None:
    """Write scores (K, H, W) in 0..1 as float16; the file appears whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            np.save(file, scores.astype(np.float16))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_cam(path: Path) -> NDArray[np.float32]:
    """Read scores as float32 (K, H, W).

    Raises
    ------
    UserError
        Where the file is missing, broken or something else.
    """
    try:
        scores = load_array(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: extract the CAMs again with `sonarseg tune crf`.") from error
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} is not a CAM file ({error}): delete its folder and tune again.") from error
    if not isinstance(scores, np.ndarray) or scores.ndim != 3 or scores.dtype != np.float16:
        raise UserError(f"{path} does not hold float16 scores (K, H, W): delete its folder and tune again.")
    return scores.astype(np.float32)
