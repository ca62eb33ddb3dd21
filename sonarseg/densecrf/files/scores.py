"""Score files, the pictures they belong to and what is made of them: found and checked."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sonarseg.errors import UserError
from sonarseg.files.arrays import load_array
from sonarseg.progress import Progress, silent
from sonarseg.survey.formats.found import SUFFIXES
from sonarseg.survey.lists import MOST_CLASSES, find_pictures
from sonarseg.survey.pictures import picture_size
from sonarseg.survey.tile_names import tile_name


@dataclass(frozen=True)
class ScoreFiles:
    """Score files, the pictures they belong to and what is made of them, checked.

    Attributes
    ----------
    scores, pictures, outputs : dict
        Files of each tile; the output is the PNG of class ids.
    num_classes : int
        K of every score file.
    settings : Path
        File beside the outputs that says how they were made.
    """

    scores: dict[str, Path]
    pictures: dict[str, Path]
    outputs: dict[str, Path]
    num_classes: int
    settings: Path

    def targets(self, name: str, *, probabilities: bool) -> list[Path]:
        """Files to write for a tile."""
        output = self.outputs[name]
        return [output, output.with_name(f"{output.stem}.npy")] if probabilities else [output]


def find_score_files(scores: Path, images: Path, output: Path, progress: Progress = silent) -> ScoreFiles:
    """Pair score files with their pictures and check that they fit; no pixel is decoded.

    Parameters
    ----------
    scores : Path
        Folder of `NAME.npy`, float16 or float32 (K, H, W), or one such file.
    images : Path
        Folder of pictures of the same names; one picture for one score file.
    output : Path
        Folder for `NAME.png`; one .png for one score file.
    progress : Progress
        Called a tile.

    Raises
    ------
    UserError
        Where files are missing, or shape, type or number of classes do not fit.
    """
    if scores.is_file():
        files = _one_file(scores, images, output)
    else:
        files = _files_of_folders(scores, images, output)
    first: tuple[Path, int] | None = None
    for done, (name, path) in enumerate(files.scores.items(), start=1):
        classes, height, width = _shape(path)
        size = picture_size(files.pictures[name])
        if size != (height, width):
            raise UserError(
                f"{path} holds scores of {height} x {width} pixels (height x width), but "
                f"{files.pictures[name]} is {size[0]} x {size[1]}: make the scores again from this picture."
            )
        first = first or (path, classes)
        if classes != first[1]:
            raise UserError(
                f"{path} holds scores of {classes} classes, but {first[0]} of {first[1]}: "
                "every file needs all classes, in one order."
            )
        progress("checking files", done, len(files.scores))
    assert first is not None
    return ScoreFiles(files.scores, files.pictures, files.outputs, first[1], files.settings)


def _one_file(scores: Path, images: Path, output: Path) -> ScoreFiles:
    for path, suffixes in ((scores, (".npy",)), (images, SUFFIXES), (output, (".png",))):
        if path.suffix.lower() not in suffixes or path.is_dir():
            raise UserError(
                f"{path} is not a {' or '.join(suffixes)} file: one file of scores goes with one picture "
                "and one .png to write, a folder of scores with two folders."
            )
    name = tile_name(scores.stem)
    return ScoreFiles({name: scores}, {name: images}, {name: output}, 0, output.with_suffix(".refine.json"))


def _files_of_folders(scores: Path, images: Path, output: Path) -> ScoreFiles:
    problems: list[str] = []
    pictures = find_pictures(images, problems)
    found: dict[str, Path] = {}
    for path in sorted(scores.glob("*.npy")):
        name = _scored_tile(path.stem, pictures)
        if not path.name.startswith(".") and (other := found.setdefault(name, path)) != path:
            raise UserError(f"{path} and {other.name} are scores of one tile: keep one.")
    if not found:
        raise UserError(
            f"{scores} holds no .npy file: name a folder with one file (K, H, W) of scores a tile."
        )
    if not images.is_dir():
        raise UserError(f"{images} is not a folder: name the folder of the pictures.")
    if output.resolve() == images.resolve():
        raise UserError(f"{output} is the folder of the pictures: choose another one to write to.")
    if problems:
        raise UserError(problems[0])
    for name, path in found.items():
        if name not in pictures:
            raise UserError(
                f"{images} holds no {name}.png, .tif or .jpg for {path}: add it, or take the scores away."
            )
    return ScoreFiles(
        found,
        {name: pictures[name] for name in found},
        {name: output / f"{name}.png" for name in found},
        0,
        output / "refine.json",
    )


def _scored_tile(stem: str, pictures: dict[str, Path]) -> str:
    """Tile of `NAME.npy`; NAME may end in the suffix of the picture, unless that is part of its name."""
    name = unicodedata.normalize("NFC", stem)
    return name if name in pictures else tile_name(stem)


def _shape(path: Path) -> tuple[int, int, int]:
    try:
        scores = load_array(path, "r")
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is not a NumPy file ({error}): save the scores again.") from error
    if isinstance(scores, np.ndarray) and (scores.ndim == 2 or (scores.ndim == 3 and len(scores) == 1)):
        raise UserError(
            f"{path} holds scores {scores.shape} of one class, and one class leaves nothing to decide: "
            "write all classes, the background too, as (classes, height, width)."
        )
    if not isinstance(scores, np.ndarray) or scores.ndim != 3 or scores.dtype not in (np.float16, np.float32):
        found = f"{scores.dtype} {scores.shape}" if isinstance(scores, np.ndarray) else type(scores).__name__
        raise UserError(f"{path} holds {found}, expected float16 or float32 scores (classes, height, width).")
    classes, height, width = scores.shape
    if not 2 <= classes <= MOST_CLASSES:
        raise UserError(f"{path} holds scores of {classes} classes, expected 2 to {MOST_CLASSES}.")
    return classes, height, width
