"""Refine class scores on disk by the dense CRF, without a survey or a study."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from PIL import Image

from sonarseg.array_files import load_array
from sonarseg.cam_store import write_cam
from sonarseg.densecrf.engine import DEFAULT_ENGINE, Engine, make_ready
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.refine import refine
from sonarseg.densecrf.refine_tiles import ScoredTile, refine_tiles
from sonarseg.errors import UserError
from sonarseg.progress import Progress, silent
from sonarseg.seeds import argmax_labels
from sonarseg.survey.lists import find_pictures, read_classes, read_table, tile_name
from sonarseg.survey.pictures import SUFFIXES, Picture, picture_size, read_picture, write_index_png
from sonarseg.survey.scaling import SAMPLE, GreyScaling, is_grey, scaling_of

Result = TypeVar("Result")
Shown = Mapping[str, NDArray[np.bool_]]
# Name, labels and, where they are wanted, marginals of a tile
Refined = tuple[str, NDArray[np.uint8], NDArray[np.float16] | None]
_JPEG = (".jpg", ".jpeg")
_WHOLE_RANGE = (0.0, 255.0)
# Room for rounding
_HIGHEST_SCORE = 1.001


@dataclass(frozen=True)
class ScoreFiles:
    """Score files, the pictures they belong to and what is made of them, checked.

    Attributes
    ----------
    scores, pictures, outputs : dict
        Files of each tile; the output is the PNG of class ids.
    num_classes : int
        K of every score file.
    """

    scores: dict[str, Path]
    pictures: dict[str, Path]
    outputs: dict[str, Path]
    num_classes: int

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
        Folder of pictures `NAME.png`, `.tif`, `.tiff` or `.jpg`; one picture for one score file.
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
        size = _size(files.pictures[name])
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
    return ScoreFiles(files.scores, files.pictures, files.outputs, first[1])


def _one_file(scores: Path, images: Path, output: Path) -> ScoreFiles:
    for path, suffixes in ((scores, (".npy",)), (images, (*SUFFIXES, *_JPEG)), (output, (".png",))):
        if path.suffix.lower() not in suffixes or path.is_dir():
            raise UserError(
                f"{path} is not a {' or '.join(suffixes)} file: one file of scores goes with one picture "
                "and one .png to write, a folder of scores with two folders."
            )
    name = tile_name(scores.stem)
    return ScoreFiles({name: scores}, {name: images}, {name: output}, 0)


def _files_of_folders(scores: Path, images: Path, output: Path) -> ScoreFiles:
    found: dict[str, Path] = {}
    for path in sorted(scores.glob("*.npy")):
        if not path.name.startswith(".") and (other := found.setdefault(tile_name(path.stem), path)) != path:
            raise UserError(f"{path} and {other.name} are scores of one tile: keep one.")
    if not found:
        raise UserError(
            f"{scores} holds no .npy file: name a folder with one file (K, H, W) of scores a tile."
        )
    if not images.is_dir():
        raise UserError(f"{images} is not a folder: name the folder of the pictures.")
    if output.resolve() == images.resolve():
        raise UserError(f"{output} is the folder of the pictures: choose another one to write to.")
    problems: list[str] = []
    pictures = find_pictures(images, problems)
    for path in sorted(images.iterdir()):
        if path.suffix.lower() not in _JPEG or path.name.startswith("."):
            continue
        if (other := pictures.setdefault(tile_name(path.stem), path)) != path:
            problems.append(f"{path} and {other.name} are two pictures of one tile: keep one.")
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
    )


def _shape(path: Path) -> tuple[int, int, int]:
    try:
        scores = load_array(path, "r")
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is not a NumPy file ({error}): save the scores again.") from error
    if not isinstance(scores, np.ndarray) or scores.ndim != 3 or scores.dtype not in (np.float16, np.float32):
        found = f"{scores.dtype} {scores.shape}" if isinstance(scores, np.ndarray) else type(scores).__name__
        raise UserError(f"{path} holds {found}, expected float16 or float32 scores (classes, height, width).")
    classes, height, width = scores.shape
    if not 1 <= classes <= 255:
        raise UserError(f"{path} holds scores of {classes} classes, expected 1 to 255.")
    return classes, height, width


def _size(path: Path) -> tuple[int, int]:
    if path.suffix.lower() in _JPEG:
        return _jpeg(path, lambda picture: (picture.height, picture.width))
    return picture_size(path)


def _read(path: Path) -> Picture:
    return _jpeg(path, np.asarray) if path.suffix.lower() in _JPEG else read_picture(path)


def _jpeg(path: Path, use: Callable[[Image.Image], Result]) -> Result:
    try:
        with Image.open(path) as picture:
            if picture.mode not in ("L", "RGB"):
                raise UserError(f"{path} is a {picture.mode} picture: save it as grey or RGB.")
            return use(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read ({error}): save it again as PNG or TIFF.") from error


def fit_pictures(pictures: Sequence[Path]) -> GreyScaling:
    """Find the one scaling of all pictures, as `sonarseg.survey.scaling.scaling_of`; JPEG has 8 bits.

    Raises
    ------
    UserError
        Where 8-bit and 16-bit pictures are mixed.
    """
    jpegs = [path for path in pictures if path.suffix.lower() in _JPEG]
    others = [path for path in pictures if path.suffix.lower() not in _JPEG]
    scaling = scaling_of(others) if others else GreyScaling()
    if jpegs and (scaling.low, scaling.high) != _WHOLE_RANGE:
        raise UserError(
            f"{jpegs[0]} has 8 bits but {others[0]} has 16: "
            "save all pictures alike, so that a grey level means the same everywhere."
        )
    if all(is_grey(_read(path)) for path in jpegs[:SAMPLE]):
        return scaling
    return scaling.model_copy(update={"channels": 3})


def read_shown(
    path: Path, names: Sequence[str], num_classes: int, background_id: int | None = None
) -> dict[str, NDArray[np.bool_]]:
    """Read which classes each tile may hold from a survey's labels.csv.

    A column `tile`, and a column of 0 and 1 a class: by name where classes.txt lies beside the table, else
    in the order of the ids. The background is always shown and needs no column.

    Raises
    ------
    UserError
        Where the table is missing, a column or cell is wrong, or a tile has no row.
    """
    problems: list[str] = []
    rows = list(read_table(path, problems))
    if not rows or problems:
        raise UserError(problems[0] if problems else f"{path} is missing or empty: name a table of labels.")
    header = rows[0][1]
    ids = _column_ids(path, header, num_classes, background_id)
    shown = {}
    for number, row in rows[1:]:
        cells = [row[column] for column in ids] if len(row) == len(header) else []
        if not cells or not set(cells) <= {"0", "1"}:
            raise UserError(f"{path} line {number}: expected a tile and {len(ids)} cells of 0 or 1.")
        kept = np.zeros(num_classes, dtype=np.bool_)
        kept[[k for k, cell in zip(ids.values(), cells, strict=True) if cell == "1"]] = True
        if background_id is not None:
            kept[background_id] = True
        shown[tile_name(row[header.index("tile")])] = kept
    for name in names:
        if name not in shown:
            raise UserError(f"{path} has no row for the tile {name}: add one with 0 or 1 for each class.")
    return shown


def _column_ids(path: Path, header: list[str], num_classes: int, background_id: int | None) -> dict[int, int]:
    """Column to class id."""
    named = [name for name in header if name != "tile"]
    if path.with_name("classes.txt").is_file():
        classes = list(read_classes(path.parent, []))
    else:
        classes = list(named)
        if background_id is not None and len(named) < num_classes:
            classes.insert(background_id, "")
    needed = {name for k, name in enumerate(classes) if k != background_id}
    if (
        len(classes) != num_classes
        or len({*header}) != len(header)
        or not (needed <= {*named} <= {*classes} and "tile" in header)
    ):
        raise UserError(
            f'{path} has the columns "{",".join(header)}", expected tile and one for each of the '
            f"{num_classes} classes (as in classes.txt, if it is there); only the background may go without."
        )
    return {header.index(name): classes.index(name) for name in named}


def refine_files(
    files: ScoreFiles,
    parameters: CrfParameters,
    scaling: GreyScaling,
    *,
    engine: Engine = DEFAULT_ENGINE,
    shown: Shown | None = None,
    background_id: int | None = None,
    probabilities: bool = False,
    overwrite: bool = False,
    jobs: int = 1,
    progress: Progress = silent,
) -> int:
    """Write class ids, and class probabilities if wanted, for every tile that has none yet.

    Parameters
    ----------
    files : ScoreFiles
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
    probabilities : bool
        Write `NAME.npy` beside each PNG: marginals, float16 (K, H, W).
    overwrite : bool
        Make anew what is there.
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
        Where an input would be overwritten, scores are not from 0 to 1, or a kernel is too narrow.
    """
    everything = np.ones(files.num_classes, dtype=np.bool_)

    def load(name: str) -> ScoredTile:
        image = _scaled(files.pictures[name], scaling)
        return ScoredTile(
            _read_scores(files.scores[name]), image, everything if shown is None else shown[name]
        )

    _refuse_to_overwrite_inputs(files, probabilities=probabilities)
    waiting = [
        name
        for name in files.scores
        if overwrite or not all(path.is_file() for path in files.targets(name, probabilities=probabilities))
    ]
    if waiting:
        make_ready(engine, scaling.channels, progress)
    if probabilities:
        refined = _with_probabilities(waiting, load, parameters, engine, background_id, jobs)
    else:
        refined = refine_tiles(
            waiting, load, _labels_only, parameters, engine=engine, background_id=background_id, jobs=jobs
        )
    started = time.monotonic()
    for done, tile in enumerate(refined, start=1):
        # Here and not in the workers: Ctrl-C reaches this thread only, so no partial file outlives it.
        _write(files, tile)
        left = (time.monotonic() - started) / done * (len(waiting) - done)
        progress("refining", done, len(waiting), f"{engine}, {left:.0f} s left" if left else str(engine))
    return len(waiting)


def _refuse_to_overwrite_inputs(files: ScoreFiles, *, probabilities: bool) -> None:
    inputs = {path.resolve() for path in (*files.scores.values(), *files.pictures.values())}
    for name in files.scores:
        for path in files.targets(name, probabilities=probabilities):
            if path.resolve() in inputs:
                raise UserError(f"{path} is an input and would be overwritten: choose another OUT.")


def _scaled(path: Path, scaling: GreyScaling) -> NDArray[np.uint8]:
    picture = _read(path)
    whole = (scaling.low, scaling.high) == _WHOLE_RANGE
    # The scaling is found from a sample: a picture outside it may be of the other depth.
    if (picture.max() > _WHOLE_RANGE[1]) if whole else picture.dtype == np.uint8:
        raise UserError(
            f"{path} has {picture.itemsize * 8} bits, other pictures have not: "
            "save all pictures alike, so that a grey level means the same everywhere."
        )
    return scaling.apply(picture)


def _read_scores(path: Path) -> NDArray[np.floating]:
    scores: NDArray[np.floating] = load_array(path)
    lowest, highest = float(scores.min()), float(scores.max())
    if not 0 <= lowest <= highest <= _HIGHEST_SCORE:
        raise UserError(
            f"{path} holds values from {lowest:g} to {highest:g}, expected scores from 0 to 1: make them "
            "again without NaN, as probabilities (softmax) where they are logits."
        )
    return scores


def _labels_only(name: str, labels: NDArray[np.uint8]) -> Refined:
    return name, labels, None


def _with_probabilities(
    names: Sequence[str],
    load: Callable[[str], ScoredTile],
    parameters: CrfParameters,
    engine: Engine,
    background_id: int | None,
    jobs: int,
) -> Iterator[Refined]:
    """Refine tiles to labels and marginals; the labels are the classes of the highest marginals."""

    def one(name: str) -> Refined:
        tile = load(name)
        marginals = refine(
            tile.scores,
            tile.image,
            parameters,
            shown=tile.shown,
            background_id=background_id,
            engine=engine,
            return_probabilities=True,
        )
        return name, argmax_labels(marginals, tile.shown), marginals.astype(np.float16)

    workers = 1 if engine.name == "torch" else jobs
    # A few tiles a call: joblib does not wait for the writer, and marginals would fill the memory.
    size = 4 * workers
    with Parallel(
        n_jobs=workers, backend="threading" if engine.threads else "loky", return_as="generator"
    ) as parallel:
        for start in range(0, len(names), size):
            yield from parallel(delayed(one)(name) for name in names[start : start + size])


def _write(files: ScoreFiles, tile: Refined) -> None:
    name, labels, marginals = tile
    output, *beside = files.targets(name, probabilities=marginals is not None)
    output.parent.mkdir(parents=True, exist_ok=True)
    if marginals is not None:
        write_cam(beside[0], marginals)
    write_index_png(output, labels)
