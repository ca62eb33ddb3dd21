"""CAM scores on disk: one float16 file a tile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.files.arrays import load_array
from sonarseg.files.whole import whole_file

_MAXIMA = "maxima.npy"


def write_cam(path: Path, scores: NDArray[np.floating]) -> None:
    """Write scores (K, H, W) in 0..1 as float16; the file appears whole or not at all."""
    with whole_file(path) as partial, partial.open("wb") as file:
        np.save(file, scores.astype(np.float16))


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


def write_maxima(cams_dir: Path, maxima: NDArray[np.float32]) -> None:
    """Keep the largest value of each class, float32 (K,), with the CAMs that were divided by them."""
    cams_dir.mkdir(parents=True, exist_ok=True)
    with whole_file(cams_dir / _MAXIMA) as partial, partial.open("wb") as file:
        np.save(file, maxima)


def read_maxima(cams_dir: Path) -> NDArray[np.float32] | None:
    """Read what `write_maxima` kept; None if there is nothing.

    Raises
    ------
    UserError
        If the file is broken.
    """
    path = cams_dir / _MAXIMA
    try:
        maxima = load_array(path)
    except FileNotFoundError:
        return None
    except (ValueError, EOFError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): delete {cams_dir}, and the CAMs are made again."
        ) from error
    if not isinstance(maxima, np.ndarray) or maxima.ndim != 1 or maxima.dtype != np.float32:
        raise UserError(
            f"{path} does not hold float32 numbers, one per class: delete {cams_dir}, and the CAMs are made "
            "again."
        )
    return maxima
