"""The tiles that crf trials are scored on, prepared once: guides filtered, scores cut to shown classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sonarseg.cam.files import read_cam
from sonarseg.densecrf.refine import crf_tile
from sonarseg.densecrf.tile import CrfTile
from sonarseg.errors import UserError
from sonarseg.ignore import IGNORE
from sonarseg.metrics.confusion import confusion
from sonarseg.processes.pool import in_order
from sonarseg.progress import Progress, silent
from sonarseg.survey.guide import Guide, guide_image
from sonarseg.survey.layout import Survey
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.config import DEFAULT_CAM, CamConfig

Number = TypeVar("Number", np.uint8, np.float16, np.bool_)


@dataclass(frozen=True)
class TuningTile:
    """One tile on disk, ready to be refined; threads and processes map the files and share their pages.

    The files hold bare numbers: a NumPy header would be parsed again for every trial.

    Attributes
    ----------
    name : str
        The tile.
    size : (int, int)
        Height and width, pixels.
    kept : tuple of int (k,)
        Ids of the classes that it may hold. With fewer than two its labels are known beforehand.
    scores : Path
        CAM scores of those classes, float16 (k, H, W).
    background : int or None
        The row of the background class if it gets the constant score.
    guides : dict
        Guide image of each kind, uint8 (H, W) or (H, W, 3).
    channels : int
        Of the guides.
    mask : Path
        Class ids, uint8 (H, W).
    pixels : tuple of int (K,)
        Pixels of each class in the mask.
    valid : Path or None
        Pixels with data, bool (H, W), if not all have them.
    """

    name: str
    size: tuple[int, int]
    kept: tuple[int, ...]
    scores: Path
    background: int | None
    guides: dict[Guide, Path]
    channels: int
    mask: Path
    pixels: tuple[int, ...]
    valid: Path | None = None

    def open(self, guide: Guide) -> tuple[CrfTile, NDArray[np.uint8]]:
        """Map the tile and its mask."""
        scores = _map(self.scores, np.float16, (len(self.kept), *self.size))
        shape = self.size if self.channels == 1 else (*self.size, self.channels)
        image = _map(self.guides[guide], np.uint8, shape)
        valid = None if self.valid is None else _map(self.valid, np.bool_, self.size)
        return CrfTile(scores, image, self.background, valid), _map(self.mask, np.uint8, self.size)

    def constant_confusion(self, num_classes: int) -> NDArray[np.int64]:
        """Confusion matrix (K, K) of a tile that needs no CRF: its one class, or none, everywhere."""
        truth = np.array(_map(self.mask, np.uint8, self.size))
        return confusion(truth, np.full_like(truth, self.kept[0] if self.kept else IGNORE), num_classes)


def prepare_tiles(
    survey: Survey,
    tiles: Sequence[str],
    cam_dir: Path,
    scaling: GreyScaling,
    guides: Sequence[Guide],
    folder: Path,
    progress: Progress = silent,
    *,
    jobs: int = 1,
    cam: CamConfig = DEFAULT_CAM,
) -> list[TuningTile]:
    """Read, cut and filter once what every trial would do again.

    Parameters
    ----------
    survey : Survey
        Its masks of the tuning split are read.
    tiles : sequence of str
        Tiles with a mask.
    cam_dir : Path
        Folder of `NAME.npy`, float16 (K, H, W).
    scaling : GreyScaling
        The survey-wide scaling to 0..255.
    guides : sequence of Guide
        The kinds that trials may choose.
    folder : Path
        Where to put scores, guide images and masks.
    progress : Progress
        Called a tile.
    jobs : int
        Threads: pictures are decoded and filtered without the interpreter's lock.
    cam : CamConfig
        Of the run that made the CAMs: whether the background has a score of its own.

    Raises
    ------
    UserError
        Where a tile has no CAM scores, they do not fit its image, or one is not a finite number.
    """
    background = cam.constant_background(survey.background_id)

    def prepare(place: tuple[int, str]) -> TuningTile:
        index, tile = place
        return _prepare(survey, tile, cam_dir, scaling, guides, folder / f"{index:06d}", background)

    prepared = []
    for tile in in_order(prepare, list(enumerate(tiles)), jobs, processes=False):
        prepared.append(tile)
        progress("preparing tuning tiles", len(prepared), len(tiles))
    return prepared


def _prepare(
    survey: Survey,
    tile: str,
    cam_dir: Path,
    scaling: GreyScaling,
    guides: Sequence[Guide],
    stem: Path,
    background_id: int | None,
) -> TuningTile:
    path = cam_dir / f"{tile}.npy"
    if not path.is_file():
        raise UserError(f"{path} is missing: delete the folder {cam_dir} and start again.")
    scores, image, shown = read_cam(path), scaling.read(survey.image_path(tile)), survey.shown(tile)
    if scores.shape[1:] != image.shape[:2]:
        raise UserError(
            f"{path} holds scores of {scores.shape[1]} x {scores.shape[2]} pixels, but its image is "
            f"{image.shape[0]} x {image.shape[1]}: delete the folder {cam_dir} and start again."
        )
    if not np.isfinite(scores).all():
        raise UserError(
            f"{path} holds scores that are not finite numbers: delete the folder {cam_dir} and start again."
        )
    cut = crf_tile(scores, image, shown, background_id)
    files = {"scores": stem.with_suffix(".scores"), "mask": stem.with_suffix(".mask")}
    cut.scores.astype(np.float16).tofile(files["scores"])
    mask = survey.read_mask(tile)
    mask.tofile(files["mask"])
    valid = survey.read_valid(tile)
    if valid is not None:
        files["valid"] = stem.with_suffix(".valid")
        valid.tofile(files["valid"])
    paths: dict[Guide, Path] = {}
    for kind in guides:
        paths[kind] = stem.with_suffix(f".{kind}")
        guide_image(image, kind).tofile(paths[kind])
    pixels = np.bincount(mask[mask != IGNORE], minlength=survey.num_classes)
    kept = tuple(int(k) for k in np.flatnonzero(shown))
    return TuningTile(
        name=tile,
        size=cut.shape,
        kept=kept,
        scores=files["scores"],
        background=cut.background,
        guides=paths,
        channels=1 if image.ndim == 2 else image.shape[2],
        mask=files["mask"],
        pixels=tuple(pixels.tolist()),
        valid=files.get("valid"),
    )


def _map(path: Path, kind: type[Number], shape: tuple[int, ...]) -> NDArray[Number]:
    return np.memmap(path, kind, "r", shape=shape)


def _shares(pixels: NDArray[np.int64], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.asarray(pixels / np.maximum(1, pixels[counted].sum(axis=0)))


def class_shares(pixels: NDArray[np.int64], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share (T,) that each tile has in the pixels of the classes, added up over classes.

    To the mean IoU, a tile can contribute about as much as that.

    Parameters
    ----------
    pixels : int (T, K)
        Pixels of each class in the truth of each tile.
    counted : bool (T,)
        Tiles that the metric counts.
    """
    return np.asarray(_shares(pixels, counted).sum(axis=1))


def informative_order(pixels: NDArray[np.int64], counted: NDArray[np.bool_]) -> list[int]:
    """Order tiles so that the first ones tell most about the survey's score.

    In turn the class of which the least share has been seen takes its largest tile. Tiles that the metric
    does not count come last.

    Parameters
    ----------
    pixels : int (T, K)
        Pixels of each class in the truth of each tile.
    counted : bool (T,)
        Tiles that the metric counts.
    """
    share = _shares(pixels, counted)
    left = [int(tile) for tile in np.flatnonzero(counted)]
    classes = np.flatnonzero(pixels[counted].sum(axis=0))
    seen = np.zeros(pixels.shape[1])
    order: list[int] = []
    while left:
        least = classes[np.argmin(seen[classes])] if len(classes) else 0
        best = max(left, key=lambda tile: (share[tile, least], share[tile].sum(), -tile))
        order.append(best)
        left.remove(best)
        seen += share[best]
    return order + [int(tile) for tile in np.flatnonzero(~counted)]
