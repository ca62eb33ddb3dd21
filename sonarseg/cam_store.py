"""CAM scores on disk: one float16 file a tile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError


def write_cam(path: Path, scores: NDArray[np.float32]) -> None:
    """Write scores (K, H, W) in 0..1 as float16."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, scores.astype(np.float16))
    partial.replace(path)


def read_cam(path: Path) -> NDArray[np.float32]:
    """Read scores as float32 (K, H, W).

    Raises
    ------
    UserError
        Where the file is missing or broken.
    """
    try:
        scores = np.load(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: extract the CAMs again with `sonarseg tune crf`.") from error
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} is not a CAM file ({error}): delete its folder and tune again.") from error
    loaded: NDArray[np.float32] = scores.astype(np.float32)
    return loaded
