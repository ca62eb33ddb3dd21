"""Score a trained run, or a dense CRF setting, on a split with pixel masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonarseg.cam.files import read_cam
from sonarseg.densecrf.batch import refine_tiles
from sonarseg.densecrf.engines.base import DEFAULT_ENGINE, Engine, make_ready
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import ScoredTile
from sonarseg.errors import UserError
from sonarseg.metrics.boundary import boundary_counts, boundary_iou, boundary_width
from sonarseg.metrics.confusion import confusion
from sonarseg.metrics.iou import SurveyScores, survey_scores
from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import Survey
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.config import DEFAULT_CAM, CamConfig

# A confusion matrix, int64 (K, K), and boundary counts, int64 (2, K), of one tile.
Counts = tuple[NDArray[np.int64], NDArray[np.int64]]
TILES_IN_MEMORY = 256
_BATCH = 8


@dataclass(frozen=True)
class Evaluation:
    """Scores of one thing on one split.

    Attributes
    ----------
    tiles : tuple of str
        Tiles that have a mask, in the order of `confusions`.
    groups : tuple of (str or None)
        Strip of each tile, where the survey tells.
    confusions : int64 (T, K, K)
        A confusion matrix a tile, rows truth.
    scores : dict
        `survey_scores` of the confusions.
    boundary_iou : float or None
        Mean boundary IoU (Cheng et al., arXiv 2103.16562) over the classes present.
    uses_image_labels : bool
        Whether the split's image-level labels were used: CAM and CRF rows use them, a decoder does not.
    """

    split: str
    tiles: tuple[str, ...]
    groups: tuple[str | None, ...]
    confusions: NDArray[np.int64]
    scores: SurveyScores
    boundary_iou: float | None
    uses_image_labels: bool


def tiles_with_masks(survey: Survey, split: str) -> tuple[str, ...]:
    """Tiles of a split that can be scored.

    Raises
    ------
    UserError
        Where no tile of the split has a mask.
    """
    tiles = tuple(tile for tile in survey.splits[split] if survey.has_mask(tile))
    if not tiles:
        raise UserError(
            f"{survey.root / 'masks'} holds no mask of the {split} split: "
            f"draw masks for its tiles, or evaluate on another split."
        )
    return tiles


def _count(truth: NDArray[np.uint8], labels: NDArray[np.uint8], num_classes: int) -> Counts:
    """Confusion matrix (K, K) and boundary counts (2, K) of one tile."""
    width = boundary_width(truth.shape[0], truth.shape[1])
    return confusion(truth, labels, num_classes), boundary_counts(truth, labels, num_classes, width)


def evaluate_crf(
    survey: Survey,
    split: str,
    cams_dir: Path,
    parameters: CrfParameters,
    scaling: GreyScaling,
    *,
    cam: CamConfig = DEFAULT_CAM,
    engine: Engine = DEFAULT_ENGINE,
    jobs: int = 1,
    progress: Progress = silent,
) -> Evaluation:
    """Score the pseudo-labels of a dense CRF setting.

    Parameters
    ----------
    survey : Survey
        Opened for `split`.
    split : str
        "val" or "test".
    cams_dir : Path
        Folder with `SPLIT/NAME.npy`.
    parameters : CrfParameters
        Setting to score; `iterations = 0` scores the CAM's argmax.
    scaling : GreyScaling
        The survey-wide scaling to 0..255.
    cam : CamConfig
        Of the run that made the CAMs: whether the background has a score of its own.
    engine : Engine
        What computes the dense CRF.
    jobs : int
        Threads or processes.
    progress : Progress
        Called a tile.
    """
    tiles = tiles_with_masks(survey, split)
    make_ready(engine, scaling.channels, progress, num_classes=survey.num_classes)
    # Worker processes outlive a change of the current folder: they are given absolute paths.
    cams_dir = cams_dir.resolve()

    def load(tile: str) -> ScoredTile:
        scores = read_cam(cams_dir / split / f"{tile}.npy")
        image = scaling.read(survey.image_path(tile))
        return ScoredTile(scores, image, survey.shown(tile), survey.read_valid(tile))

    def count(tile: str, labels: NDArray[np.uint8]) -> Counts:
        return _count(survey.read_mask(tile), labels, survey.num_classes)

    found: list[Counts] = []
    background = cam.constant_background(survey.background_id)
    for counts in refine_tiles(
        tiles, load, count, parameters, engine=engine, background_id=background, jobs=jobs
    ):
        found.append(counts)
        progress("scoring", len(found), len(tiles))
    return _evaluation(survey, split, tiles, found, uses_image_labels=True)


def evaluate_run(run_dir: Path, survey: Survey, split: str, *, device: str = "auto") -> Evaluation:
    """Score a trained run's decoder; the split's image-level labels are not used.

    Raises
    ------
    UserError
        Where the run has no checkpoint or other classes than the survey.
    """
    import torch

    from sonarseg.survey.pixel_store import StoredPicture, packed
    from sonarseg.training.branch_loss import BinaryLoss
    from sonarseg.training.checkpoint.model import load_model
    from sonarseg.training.data.tiles import load_tiles
    from sonarseg.training.device import pick_device
    from sonarseg.training.validation import validate

    model = load_model(run_dir, pick_device(device))
    check_classes(run_dir, model.classes, survey)
    tiles = tiles_with_masks(survey, split)
    counted: dict[str, Counts] = {}

    def count(tile: str, labels: NDArray[np.uint8]) -> None:
        counted[tile] = _count(survey.read_mask(tile), labels, survey.num_classes)

    branch = BinaryLoss(torch.ones(survey.num_classes, dtype=torch.bool, device=model.device))
    for start in range(0, len(tiles), TILES_IN_MEMORY):
        part = tiles[start : start + TILES_IN_MEMORY]
        loaded = load_tiles(survey, part, model.scaling, model.network_config.tile_scale, labels=False)
        masks = packed(StoredPicture(mask[None], mask.shape) for mask in map(survey.read_mask, part))
        validate(model, loaded, masks, None, branch, _BATCH, on_prediction=count)
    return _evaluation(survey, split, tiles, [counted[tile] for tile in tiles], uses_image_labels=False)


def check_classes(run_dir: Path, classes: tuple[str, ...], survey: Survey) -> None:
    """Refuse a model of other classes than the survey's.

    Raises
    ------
    UserError
        Where the lists differ.
    """
    if classes != survey.classes:
        raise UserError(
            f"{run_dir} was trained on the classes {', '.join(classes)}, but {survey.root / 'classes.txt'} "
            f"lists {', '.join(survey.classes)}: use the run with its own survey."
        )


def _evaluation(
    survey: Survey,
    split: str,
    tiles: Sequence[str],
    counts: Sequence[Counts],
    *,
    uses_image_labels: bool,
) -> Evaluation:
    confusions = np.stack([matrix for matrix, _ in counts])
    return Evaluation(
        split,
        tuple(tiles),
        tuple(survey.groups.get(tile) for tile in tiles),
        confusions,
        survey_scores(confusions, survey.classes),
        boundary_iou(np.sum([boundary for _, boundary in counts], axis=0)),
        uses_image_labels,
    )
