"""Confusion matrices of tiles, and their compact text for the study database.

Every measure of `sonarseg.metrics.iou` is computed from these counts, so a survey is never
held in memory and a finished study can be scored again with another measure.
"""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import NDArray

from sonarseg.ignore import IGNORE


def confusion(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], num_classes: int
) -> NDArray[np.int64]:
    """Count the pixels of every pair of true and predicted class.

    Parameters
    ----------
    truth, predicted : ndarray, int (H, W)
        Class ids. Pixels of `truth` that are 255 are left out.
    num_classes : int
        K, at most 255.

    Returns
    -------
    ndarray, int64 (K, K)
        Rows are the truth, columns the prediction.

    Raises
    ------
    ValueError
        Where the shapes differ or an id is neither below K nor 255.

    Notes
    -----
    A prediction of 255 on a valid pixel is wrong, never left out: not deciding must not pay. It
    is counted in the column of the class after the true one. Only a tile without any shown class
    brings such predictions.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth is {truth.shape} and the prediction {predicted.shape}: they must be equal")
    valid = truth != IGNORE
    true_ids = truth[valid].astype(np.int64)
    predicted_ids = predicted[valid].astype(np.int64)
    undecided = predicted_ids == IGNORE
    if undecided.any():
        if num_classes < 2:
            raise ValueError("with one class a prediction of 255 cannot be counted as wrong")
        predicted_ids[undecided] = (true_ids[undecided] + 1) % num_classes
    for name, ids in (("truth", true_ids), ("prediction", predicted_ids)):
        if ids.size and not 0 <= ids.min() <= ids.max() < num_classes:
            raise ValueError(
                f"{name} holds class ids {ids.min()}..{ids.max()}, expected 0..{num_classes - 1}"
            )
    pairs = np.bincount(true_ids * num_classes + predicted_ids, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes).astype(np.int64)


def pack_confusions(confusions: NDArray[np.integer]) -> str:
    """Write confusion matrices as compact ASCII text.

    Parameters
    ----------
    confusions : ndarray, int (T, K, K)
        Counts, not negative.

    Returns
    -------
    str
        "T:K:BYTES:" and the zlib-compressed little-endian counts in base64, BYTES a count.

    Raises
    ------
    ValueError
        Where the shape is not (T, K, K) or a count is negative.
    """
    if confusions.ndim != 3 or confusions.shape[1] != confusions.shape[2]:
        raise ValueError(f"confusions have shape {confusions.shape}, expected (tiles, classes, classes)")
    if confusions.size and confusions.min() < 0:
        raise ValueError("a confusion matrix holds a negative count")
    width = 4 if not confusions.size or confusions.max() < 2**32 else 8
    counts = zlib.compress(np.ascontiguousarray(confusions, dtype=f"<u{width}").tobytes(), level=9)
    tiles, classes = confusions.shape[:2]
    return f"{tiles}:{classes}:{width}:{base64.b64encode(counts).decode('ascii')}"


def unpack_confusions(text: str) -> NDArray[np.int64]:
    """Read the text of `pack_confusions`.

    Returns
    -------
    ndarray, int64 (T, K, K)
        The counts.

    Raises
    ------
    ValueError
        Where the text was not written by `pack_confusions`.
    """
    try:
        tiles, classes, width, counts = text.split(":")
        if width not in ("4", "8"):
            raise ValueError(f"{width} bytes a count")
        values = np.frombuffer(zlib.decompress(base64.b64decode(counts, validate=True)), dtype=f"<u{width}")
        return values.astype(np.int64).reshape(int(tiles), int(classes), int(classes))
    except (ValueError, zlib.error) as error:
        raise ValueError(f"not a packed list of confusion matrices: {text[:40]!r}") from error
