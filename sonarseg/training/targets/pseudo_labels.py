"""Pseudo-labels of the train tiles: CAM scores refined by the dense CRF, kept as index pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sonarseg.cam.files import read_cam
from sonarseg.densecrf.batch import refine_tiles
from sonarseg.densecrf.engines.base import DEFAULT_ENGINE, Engine, make_ready
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.refine import refine_batch
from sonarseg.densecrf.tile import ScoredTile
from sonarseg.files.whole import whole_folder
from sonarseg.ignore import IGNORE
from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import Survey
from sonarseg.survey.pictures import read_mask_file, write_index_png
from sonarseg.survey.scaling import GreyScaling

Item = TypeVar("Item")
Result = TypeVar("Result")


# Tiles in memory at once, refined or waiting for it, where the CAMs are made meanwhile
_WAITING = 64


@dataclass(frozen=True)
class Labelling:
    """How pseudo-labels are made.

    Attributes
    ----------
    survey : Survey
        Images and image-level labels; no mask is read.
    scaling : GreyScaling
        The survey-wide scaling to 0..255.
    parameters : CrfParameters
        Dense CRF settings.
    engine : Engine
        What computes the dense CRF.
    jobs : int
        Threads or processes.
    scored_background : bool
        Whether the scores of the background say something; else it gets the constant score.
    """

    survey: Survey
    scaling: GreyScaling
    parameters: CrfParameters
    engine: Engine = DEFAULT_ENGINE
    jobs: int = 1
    scored_background: bool = False

    @property
    def background_id(self) -> int | None:
        """The background class if it gets the constant score."""
        return None if self.scored_background else self.survey.background_id

    def prepared(
        self, tile: str, image: NDArray[np.uint8], scores: NDArray[np.floating] | None
    ) -> ScoredTile:
        """A tile for `refine`; one with a single class is labelled whole and needs no scores."""
        shown = self.survey.shown(tile)
        if scores is None:
            scores = np.zeros((len(shown), *image.shape[:2]), dtype=np.float32)
        return ScoredTile(scores, image, shown, self.survey.read_valid(tile))


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
    scored_background: bool = False,
    progress: Progress = silent,
) -> None:
    """Write `folder/NAME.png` for every tile; the folder appears whole or not at all.

    Parameters
    ----------
    survey, parameters, scaling, engine, jobs, scored_background
        As `Labelling` holds them.
    tiles : sequence of str
        Tiles to label.
    cam_dir : Path
        Folder of float16 (K, H, W) CAM scores.
    folder : Path
        Where the pseudo-labels go, 255 at pixels without data; also `frequencies.npy`, float64 (K,), the
        share of each class.
    progress : Progress
        Called a tile.
    """
    labelling = Labelling(survey, scaling, parameters, engine, jobs, scored_background)
    make_ready(engine, scaling.channels, progress, num_classes=survey.num_classes)
    # Worker processes outlive a change of the current folder: they are given absolute paths.
    folder, cam_dir = folder.resolve(), cam_dir.resolve()

    def load(tile: str) -> ScoredTile:
        several = survey.shown(tile).sum() > 1
        image = scaling.read(survey.image_path(tile))
        return labelling.prepared(tile, image, read_cam(cam_dir / f"{tile}.npy") if several else None)

    with whole_folder(folder) as partial:

        def write(tile: str, labels: NDArray[np.uint8]) -> NDArray[np.int64]:
            return _write(partial, tile, labels, survey.num_classes)

        results = refine_tiles(
            tiles, load, write, parameters, engine=engine, background_id=labelling.background_id, jobs=jobs
        )
        _count(partial, results, len(tiles), survey.num_classes, progress)


def label_scored(
    scored: Iterable[tuple[str, NDArray[np.float16] | None]],
    count: int,
    read: Callable[[str], NDArray[np.uint8]],
    labelling: Labelling,
    folder: Path,
    progress: Progress = silent,
) -> None:
    """Write `folder/NAME.png` for tiles whose scores come one after the other.

    Threads refine the tiles that have come while the next scores are made, by the device or by the
    cores that are left; `_WAITING` tiles at most are in memory. The folder appears whole or not at all.

    Parameters
    ----------
    scored : iterable of (str, float16 (K, H, W) or None)
        Tiles with their CAM scores; None for a tile with a single class, which needs none.
    count : int
        Number of tiles.
    read : callable
        Gives a tile's picture, uint8 (H, W) or (H, W, 3), scaled and at the size on disk.
    labelling : Labelling
        Its engine must be one that gains from threads, or one of a device.
    folder : Path
        As in `make_pseudo_labels`.
    progress : Progress
        Called a tile.
    """
    num_classes, background = labelling.survey.num_classes, labelling.background_id
    make_ready(labelling.engine, labelling.scaling.channels, progress, num_classes=num_classes)
    with whole_folder(folder) as partial:

        def label(batch: list[tuple[str, NDArray[np.float16] | None]]) -> NDArray[np.int64]:
            loaded = [
                labelling.prepared(tile, read(tile), None if scores is None else scores.astype(np.float32))
                for tile, scores in batch
            ]
            refined = refine_batch(loaded, labelling.parameters, background, labelling.engine)
            counts = np.zeros(num_classes, dtype=np.int64)
            for (tile, _), labels in zip(batch, refined, strict=True):
                counts += _write(partial, tile, labels, num_classes)
            return counts

        # A device takes batches, one at a time; cores take a tile each.
        size, threads = (1, labelling.jobs) if labelling.engine.threads else (_WAITING // 2, 1)
        results = _in_threads(label, _grouped(scored, size), threads, _WAITING // size)
        _count(partial, results, -(-count // size), num_classes, progress)


def _in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, waiting: int
) -> Iterator[Result]:
    """Work items off in threads while this one draws the next; results in order."""
    with ThreadPoolExecutor(threads) as pool:
        begun: deque[Future[Result]] = deque()
        try:
            for item in items:
                begun.append(pool.submit(work, item))
                while begun and (begun[0].done() or len(begun) >= waiting):
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _grouped(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    remaining = iter(items)
    while group := list(islice(remaining, size)):
        yield group


def _write(folder: Path, tile: str, labels: NDArray[np.uint8], num_classes: int) -> NDArray[np.int64]:
    write_index_png(folder / f"{tile}.png", labels)
    return np.bincount(labels[labels != IGNORE], minlength=num_classes)


def _count(
    folder: Path, results: Iterable[NDArray[np.int64]], total: int, num_classes: int, progress: Progress
) -> None:
    counts = np.zeros(num_classes, dtype=np.int64)
    for done, pixels in enumerate(results):
        counts += pixels
        progress("pseudo-labels", done + 1, total)
    np.save(folder / "frequencies.npy", counts / max(1, counts.sum()))


def read_pseudo_label(folder: Path, tile: str) -> NDArray[np.uint8]:
    """Class ids (H, W) of one tile, 255 where there is no label."""
    return read_mask_file(folder / f"{tile}.png")


def read_frequencies(folder: Path) -> NDArray[np.float64]:
    """Share of the labelled pixels of each class, (K,)."""
    frequencies: NDArray[np.float64] = np.load(folder / "frequencies.npy")
    return frequencies
