"""Refine class scores on disk by the dense CRF, without a survey or a study."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.cam.files import write_cam
from sonarseg.cam.hard_labels import argmax_labels
from sonarseg.densecrf.batch import refine_tiles
from sonarseg.densecrf.engines.base import DEFAULT_ENGINE, Engine, make_ready
from sonarseg.densecrf.files.scores import ScoreFiles
from sonarseg.densecrf.files.settings import refuse_other_settings, settings_of, write_settings
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.refine import refine_probabilities
from sonarseg.densecrf.tile import ScoredTile
from sonarseg.errors import UserError
from sonarseg.files.arrays import load_array
from sonarseg.processes.pool import in_order
from sonarseg.progress import Progress, silent
from sonarseg.survey.no_data import filled, read_valid, without_invalid
from sonarseg.survey.pictures import write_index_png
from sonarseg.survey.scaling import GreyScaling

Shown = Mapping[str, NDArray[np.bool_]]
# Name, labels and, where they are wanted, marginals of a tile
Refined = tuple[str, NDArray[np.uint8], NDArray[np.float16] | None]
# Room for rounding
_HIGHEST_SCORE = 1.001


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
    """Write class ids, and class probabilities if wanted, for every tile without them; count these tiles.

    Pixels without data are 255 and have no say.

    Parameters
    ----------
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

    Raises
    ------
    UserError
        Where an input would be overwritten, what is there was made otherwise, scores are not from 0
        to 1, or a kernel is too narrow.
    """

    def load(name: str) -> ScoredTile:
        path = files.pictures[name]
        valid = read_valid(path)
        image = filled(scaling.read(path), valid)
        return ScoredTile(
            _read_scores(files.scores[name]), image, shown[name] if shown is not None else None, valid
        )

    _refuse_to_overwrite_inputs(files, probabilities=probabilities)
    waiting = [
        name
        for name in files.scores
        if overwrite or not all(path.is_file() for path in files.targets(name, probabilities=probabilities))
    ]
    settings = settings_of(parameters, scaling, engine, labels=shown is not None, background_id=background_id)
    if not overwrite:
        refuse_other_settings(files.settings, settings)
    if waiting:
        make_ready(engine, scaling.channels, progress, num_classes=files.num_classes)
    if probabilities:
        refined = _with_probabilities(waiting, load, parameters, engine, background_id, jobs)
    else:
        refined = refine_tiles(
            waiting, load, _labels_only, parameters, engine=engine, background_id=background_id, jobs=jobs
        )
    started = time.monotonic()
    for done, tile in enumerate(refined, start=1):
        if done == 1:
            write_settings(files.settings, settings, overwriting=overwrite)
        # Here and not in the workers: Ctrl-C reaches this thread only, so no partial file outlives it.
        _write(files, tile)
        left = (time.monotonic() - started) / done * (len(waiting) - done)
        progress("refining", done, len(waiting), f"{engine}, {left:.0f} s left" if left else str(engine))
    if waiting and overwrite:
        write_settings(files.settings, settings)
    return len(waiting)


def _refuse_to_overwrite_inputs(files: ScoreFiles, *, probabilities: bool) -> None:
    inputs = {path.resolve() for path in (*files.scores.values(), *files.pictures.values())}
    for name in files.scores:
        for path in files.targets(name, probabilities=probabilities):
            if path.resolve() in inputs:
                raise UserError(f"{path} is an input and would be overwritten: choose another OUT.")


def _read_scores(path: Path) -> NDArray[np.floating]:
    scores: NDArray[np.floating] = load_array(path)
    lowest, highest = float(scores.min()), float(scores.max())
    if not 0 <= lowest <= highest <= _HIGHEST_SCORE:
        found = "NaN" if np.isnan(lowest) else f"values from {lowest:g} to {highest:g}"
        raise UserError(
            f"{path} holds {found}, expected scores from 0 to 1: make them again, by a softmax from logits."
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
        marginals = refine_probabilities(tile, parameters, background_id, engine)
        shown = np.ones(len(marginals), dtype=np.bool_) if tile.shown is None else tile.shown
        labels = without_invalid(argmax_labels(marginals, shown), tile.valid)
        return name, labels, marginals.astype(np.float16)

    workers = 1 if engine.name == "torch" else jobs
    yield from in_order(one, names, workers, processes=not engine.threads)


def _write(files: ScoreFiles, tile: Refined) -> None:
    name, labels, marginals = tile
    output, *beside = files.targets(name, probabilities=marginals is not None)
    output.parent.mkdir(parents=True, exist_ok=True)
    if marginals is not None:
        write_cam(beside[0], marginals)
    write_index_png(output, labels)
