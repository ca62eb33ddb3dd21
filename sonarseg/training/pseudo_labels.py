"""Pseudo-labels of the train tiles: CAM scores refined by the dense CRF, kept as index pictures."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.cam_store import read_cam
from sonarseg.densecrf.engine import DEFAULT_ENGINE, Engine, make_ready
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.refine_tiles import ScoredTile, refine_tiles
from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import Survey
from sonarseg.survey.pictures import read_mask_file, write_index_png
from sonarseg.survey.scaling import GreyScaling

IGNORE = 255


def _no_scores(image: NDArray[np.uint8], classes: int) -> NDArray[np.float32]:
    """Scores of a tile that is labelled whole: none of them is read."""
    return np.zeros((classes, *image.shape[:2]), dtype=np.float32)


def make_pseudo_labels(
    survey: Survey,
    tiles: Sequence[str],
    cam_dir: Path,
    folder: Path,
    parameters: CrfParameters,
    scaling: GreyScaling,
    *,
    engine: Engine = DEFAULT_ENGINE,
    jobs: int = 1,
    progress: Progress = silent,
) -> None:
    """Write `folder/NAME.png` for every tile; the folder appears whole or not at all.

    A tile with one class is labelled whole and needs no CAM.

    Parameters
    ----------
    survey : Survey
        Images and image-level labels; no mask is read.
    tiles : sequence of str
        Tiles to label.
    cam_dir : Path
        Folder of float16 (K, H, W) CAM scores.
    folder : Path
        Where the pseudo-labels go; also `frequencies.npy`, float64 (K,), the share of each class.
    parameters : CrfParameters
        Dense CRF settings.
    scaling : GreyScaling
        The survey-wide scaling to 0..255.
    engine : Engine
        What computes the dense CRF.
    jobs : int
        Threads or processes.
    progress : Progress
        Called a tile.
    """
    make_ready(engine, scaling.channels, progress)
    # Worker processes outlive a change of the current folder: they are given absolute paths.
    folder, cam_dir = folder.resolve(), cam_dir.resolve()
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)

    def load(tile: str) -> ScoredTile:
        image = scaling.apply(survey.read_image(tile))
        shown = survey.shown(tile)
        several = shown.sum() > 1
        scores = read_cam(cam_dir / f"{tile}.npy") if several else _no_scores(image, len(shown))
        return ScoredTile(scores, image, shown)

    def write(tile: str, labels: NDArray[np.uint8]) -> NDArray[np.int64]:
        write_index_png(partial / f"{tile}.png", labels)
        return np.bincount(labels[labels != IGNORE], minlength=survey.num_classes)

    counts = np.zeros(survey.num_classes, dtype=np.int64)
    results = refine_tiles(
        tiles, load, write, parameters, engine=engine, background_id=survey.background_id, jobs=jobs
    )
    for done, pixels in enumerate(results):
        counts += pixels
        progress("pseudo-labels", done + 1, len(tiles))
    np.save(partial / "frequencies.npy", counts / max(1, counts.sum()))
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def read_pseudo_label(folder: Path, tile: str) -> NDArray[np.uint8]:
    """Class ids (H, W) of one tile, 255 where there is no label."""
    return read_mask_file(folder / f"{tile}.png")


def read_frequencies(folder: Path) -> NDArray[np.float64]:
    """Share of the labelled pixels of each class, (K,)."""
    frequencies: NDArray[np.float64] = np.load(folder / "frequencies.npy")
    return frequencies
