"""What one crf trial does: refine all tuning tiles with one setting and score the pseudo-labels."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError
from numpy.typing import NDArray

from objectives.outcome import TrialFailed
from objectives.search_space import CrfRanges, suggest_crf
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.refine import refine
from sonarseg.errors import UserError
from sonarseg.metrics.confusion import confusion, pack_confusions
from sonarseg.metrics.scores import METRICS, survey_scores
from sonarseg.progress import Progress, silent
from sonarseg.survey.guide import Guide, guide_image
from sonarseg.survey.layout import Survey
from sonarseg.survey.scaling import GreyScaling


@dataclass(frozen=True)
class TuningTile:
    """One tile on disk, ready to be refined; worker processes map the files and share their pages.

    Attributes
    ----------
    name : str
        The tile.
    scores : Path
        CAM scores, float16 (K, H, W).
    guides : dict
        Guide image of each kind, uint8 (H, W) or (H, W, 3).
    mask : Path
        Class ids, uint8 (H, W).
    shown : tuple of bool (K,)
        Classes that the tile may hold.
    """

    name: str
    scores: Path
    guides: dict[Guide, Path]
    mask: Path
    shown: tuple[bool, ...]


def prepare_tiles(
    survey: Survey,
    tiles: Sequence[str],
    cam_dir: Path,
    scaling: GreyScaling,
    guides: Sequence[Guide],
    folder: Path,
    progress: Progress = silent,
) -> list[TuningTile]:
    """Filter the guide images once, so that no trial does it again.

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
        Where to put guide images and masks.
    progress : Progress
        Called a tile.

    Raises
    ------
    UserError
        Where a tile has no CAM scores.
    """
    prepared = []
    for index, tile in enumerate(tiles):
        scores = cam_dir / f"{tile}.npy"
        if not scores.is_file():
            raise UserError(f"{scores} is missing: delete the folder {cam_dir} and start again.")
        image = scaling.apply(survey.read_image(tile))
        paths: dict[Guide, Path] = {}
        for kind in guides:
            paths[kind] = folder / f"{index:06d}.{kind}.npy"
            np.save(paths[kind], guide_image(image, kind))
        mask = folder / f"{index:06d}.mask.npy"
        np.save(mask, survey.read_mask(tile))
        shown = tuple(bool(flag) for flag in survey.shown(tile))
        prepared.append(TuningTile(tile, scores, paths, mask, shown))
        progress("preparing tuning tiles", index + 1, len(tiles))
    return prepared


def tile_confusion(
    tile: TuningTile, parameters: CrfParameters, num_classes: int, background_id: int | None
) -> NDArray[np.int64]:
    """Refine one tile and count its pixels: int64 (K, K), rows truth."""
    labels = refine(
        np.load(tile.scores, mmap_mode="r").astype(np.float32),
        np.load(tile.guides[parameters.guide], mmap_mode="r"),
        parameters.model_copy(update={"guide": "raw"}),
        shown=np.array(tile.shown),
        background_id=background_id,
    )
    return confusion(np.load(tile.mask, mmap_mode="r"), labels, num_classes)


@dataclass(frozen=True)
class CrfObjective:
    """The objective of the crf study.

    Attributes
    ----------
    tiles : sequence of TuningTile
        The tuning tiles, in the order of the stored confusion matrices.
    classes : tuple of str
        The K class names.
    background_id : int or None
        The background class.
    ranges : CrfRanges
        The search space.
    metric : str
        The score that is the trial's value, a key of `sonarseg.metrics.scores.METRICS`.
    jobs : int
        Processes. The CRF holds the interpreter's lock, so threads would not help.
    """

    tiles: Sequence[TuningTile]
    classes: tuple[str, ...]
    background_id: int | None
    ranges: CrfRanges
    metric: str
    jobs: int = 1

    def confusions(self, parameters: CrfParameters) -> NDArray[np.int64]:
        """Confusion matrices of the refined tuning tiles, (T, K, K).

        Raises
        ------
        TrialFailed
            Where the system killed a worker process.
        """
        work = (
            delayed(tile_confusion)(tile, parameters, len(self.classes), self.background_id)
            for tile in self.tiles
        )
        try:
            return np.stack(Parallel(n_jobs=self.jobs)(work))
        except TerminatedWorkerError as error:
            raise TrialFailed(
                "a worker process was killed, as the system does when memory runs out: use fewer jobs."
            ) from error

    def __call__(self, trial: optuna.Trial) -> float:
        """Run one trial and return its value.

        Raises
        ------
        TrialFailed
            Where the metric is undefined or a worker process was killed.
        """
        started = time.monotonic()
        with warnings.catch_warnings():
            # A published setting is run although the person searches narrower ranges.
            warnings.filterwarnings("ignore", message="Fixed parameter")
            parameters = suggest_crf(trial, self.ranges, self.background_id is not None)
        confusions = self.confusions(parameters)
        trial.set_user_attr("metrics", dict(survey_scores(confusions, self.classes)))
        trial.set_user_attr("confusions", pack_confusions(confusions))
        trial.set_user_attr("seconds", round(time.monotonic() - started, 3))
        value = METRICS[self.metric](confusions)
        if value is None:
            raise TrialFailed(f"{self.metric} is undefined on these tiles: their masks have no valid pixel.")
        return value
