"""Refine class scores on disk by the dense CRF, without a survey or a study."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.densecrf.engine import DEFAULT_ENGINE, Engine, make_ready
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.refine_tiles import ScoredTile, refine_tiles
from sonarseg.errors import UserError
from sonarseg.progress import Progress, silent
from sonarseg.survey.lists import find_pictures
from sonarseg.survey.pictures import picture_size, read_picture, write_index_png
from sonarseg.survey.scaling import GreyScaling

Shown = Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class ScoreFiles:
    """Score files and the pictures they belong to, checked.

    Attributes
    ----------
    scores, pictures : dict
        File of each tile.
    num_classes : int
        K of every score file.
    """

    scores: dict[str, Path]
    pictures: dict[str, Path]
    num_classes: int


def find_score_files(scores: Path, images: Path) -> ScoreFiles:
    """Find `NAME.npy` and the picture of the same name, and check that they fit; nothing is decoded.

    Parameters
    ----------
    scores : Path
        Folder of float16 or float32 (K, H, W) class scores.
    images : Path
        Folder of PNG or TIFF pictures.

    Raises
    ------
    UserError
        Where a folder holds none, a picture is missing, or shape, type or number of classes do not fit.
    """
    files = {path.stem: path for path in sorted(scores.glob("*.npy"))} if scores.is_dir() else {}
    if not files:
        raise UserError(
            f"{scores} holds no .npy file: name a folder with one file (K, H, W) of scores a tile."
        )
    problems: list[str] = []
    pictures = find_pictures(images, problems)
    if problems:
        raise UserError(problems[0])
    first: tuple[Path, int] | None = None
    for name, path in files.items():
        if name not in pictures:
            raise UserError(
                f"{images} holds no {name}.png or {name}.tif for {path}: add it, or take the scores away."
            )
        classes, height, width = _shape(path)
        if picture_size(pictures[name]) != (height, width):
            raise UserError(
                f"{path} holds scores of {height} x {width} pixels (height x width), but {pictures[name]} is "
                "{} x {}: make the scores again from this picture.".format(*picture_size(pictures[name]))
            )
        first = first or (path, classes)
        if classes != first[1]:
            raise UserError(
                f"{path} holds scores of {classes} classes, but {first[0]} of {first[1]}: "
                "every file needs all classes, in one order."
            )
    assert first is not None
    return ScoreFiles(files, {name: pictures[name] for name in files}, first[1])


def _shape(path: Path) -> tuple[int, int, int]:
    try:
        scores = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is not a NumPy file ({error}): save the scores again.") from error
    if not isinstance(scores, np.ndarray) or scores.ndim != 3 or scores.dtype not in (np.float16, np.float32):
        found = f"{scores.dtype} {scores.shape}" if isinstance(scores, np.ndarray) else type(scores).__name__
        raise UserError(f"{path} holds {found}, expected float16 or float32 scores (classes, height, width).")
    classes, height, width = scores.shape
    if not 1 <= classes <= 255:
        raise UserError(f"{path} holds scores of {classes} classes, expected 1 to 255.")
    return classes, height, width


def read_shown(path: Path, names: Sequence[str], num_classes: int) -> dict[str, NDArray[np.bool_]]:
    """Read which classes each tile may hold: a column `tile`, then a 0/1 column a class, in their order.

    Raises
    ------
    UserError
        Where the table is missing, a cell is neither 0 nor 1, or a tile has no row.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({error}): save it as CSV in UTF-8.") from error
    shown = {}
    for number, row in enumerate(rows[1:], start=2):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) != num_classes + 1 or not set(cells[1:]) <= {"0", "1"}:
            raise UserError(
                f"{path}, line {number}: expected a tile and {num_classes} cells of 0 or 1, one a class."
            )
        shown[cells[0]] = np.array([cell == "1" for cell in cells[1:]])
    for name in names:
        if name not in shown:
            raise UserError(f"{path} has no row for the tile {name}: add one with 0 or 1 for each class.")
    return shown


def refine_files(
    files: ScoreFiles,
    output: Path,
    parameters: CrfParameters,
    scaling: GreyScaling,
    *,
    engine: Engine = DEFAULT_ENGINE,
    shown: Shown | None = None,
    background_id: int | None = None,
    jobs: int = 1,
    progress: Progress = silent,
) -> int:
    """Write `output/NAME.png`, class ids, for every tile that is not there yet.

    Parameters
    ----------
    files : ScoreFiles
    output : Path
        Folder, made where it is missing. A picture appears whole or not at all.
    parameters : CrfParameters
        Dense CRF setting.
    scaling : GreyScaling
        Scaling of the pictures to 0..255.
    engine : Engine
        What computes the dense CRF.
    shown : mapping, optional
        Classes that each tile may hold, bool (K,); all by default.
    background_id : int or None
        The class that gets the constant `parameters.background_score`.
    jobs : int
        Threads or processes.
    progress : Progress
        Called a tile.

    Returns
    -------
    int
        Tiles written.

    Raises
    ------
    UserError
        Where scores hold NaN, infinite or negative values, or a kernel is too narrow.
    """
    everything = np.ones(files.num_classes, dtype=np.bool_)

    def load(name: str) -> ScoredTile:
        scores = np.load(files.scores[name])
        if not np.isfinite(scores).all() or scores.min() < 0:
            raise UserError(
                f"{files.scores[name]} holds NaN, infinite or negative values, "
                "expected scores from 0 to 1: make them again."
            )
        image = scaling.apply(read_picture(files.pictures[name]))
        return ScoredTile(scores, image, everything if shown is None else shown[name])

    def write(name: str, labels: NDArray[np.uint8]) -> None:
        write_index_png(output / f"{name}.png", labels)

    waiting = [name for name in files.scores if not (output / f"{name}.png").is_file()]
    if waiting:
        make_ready(engine, scaling.channels, progress)
        output.mkdir(parents=True, exist_ok=True)
    results = refine_tiles(
        waiting, load, write, parameters, engine=engine, background_id=background_id, jobs=jobs
    )
    for done, _ in enumerate(results, start=1):
        progress("refining", done, len(waiting), str(engine))
    return len(waiting)
