"""Pictures of ended trials for Optuna Dashboard: a few val tiles as the trial labels them, and the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from objectives.records import attributes as attr
from objectives.records.ranking import rank
from objectives.records.study import StudyKind
from objectives.records.trial import objective_value
from reports.dashboard.pictures import PicturePanel, trial_picture
from reports.dashboard.store import DashboardStore
from sonarseg.cam.files import read_cam
from sonarseg.densecrf.engines.base import Engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.published import NO_CRF, published
from sonarseg.densecrf.refine import refine
from sonarseg.metrics.confusion import confusion
from sonarseg.metrics.iou import miou
from sonarseg.survey.layout import Survey
from sonarseg.survey.pictures import read_mask_file
from sonarseg.survey.scaling import GreyScaling
from studies.previews.rows import chosen_tiles, picture_engine
from studies.storage.open import present_studies
from studies.workspace import Workspace

PICTURE = "tiles.webp"


def write_trial_pictures(
    workspace: Workspace,
    scaling: GreyScaling,
    go_on: Callable[[], bool] = lambda: True,
    opened: Mapping[StudyKind, optuna.Study] | None = None,
) -> int:
    """Make the picture of every trial that has none: of complete ones, and of crf trials ended early.

    A run of the loss study that was ended early leaves no predictions to show.

    Parameters
    ----------
    workspace : Workspace
        With a finished warm-up and CAMs of val.
    scaling : GreyScaling
        The survey-wide scaling to 0..255.
    go_on : callable
        Asked before each trial.
    opened : mapping, optional
        The workspace's studies, where they are open already.

    Returns
    -------
    int
        Pictures made.
    """
    made = 0
    studies = opened or present_studies(workspace.database)
    sheet = _Sheet(workspace, workspace.survey(), scaling, picture_engine(studies.get("crf")))
    if not sheet.tiles:
        return made
    for kind, study in studies.items():
        if kind == "cam":
            # Its maps are not kept.
            continue
        store = DashboardStore(study)
        for trial in _without_picture(study, store):
            if not go_on():
                return made
            rows = sheet.crf_rows(trial) if kind == "crf" else sheet.loss_rows(trial)
            if rows:
                content = trial_picture(rows, sheet.survey.classes)
                store.write_picture(trial._trial_id, PICTURE, content, workspace.artifacts_dir)
                made += 1
    return made


def _without_picture(study: optuna.Study, store: DashboardStore) -> Iterator[FrozenTrial]:
    """Trials without a picture, complete ones first, and the best of them."""
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    trials = study.get_trials(deepcopy=False, states=states)
    for trial in sorted(trials, key=_place):
        if not store.has_picture(trial._trial_id):
            yield trial


def _place(trial: FrozenTrial) -> tuple[bool, tuple[float, int]]:
    ended_early = trial.state == TrialState.PRUNED
    return ended_early, rank(0.0 if ended_early else objective_value(trial), trial.number)


@dataclass(frozen=True)
class _Sheet:
    """What is the same in the pictures of all trials."""

    workspace: Workspace
    survey: Survey
    scaling: GreyScaling
    engine: Engine

    @cached_property
    def tiles(self) -> list[str]:
        cams = self.workspace.cams_dir / "val"
        return [tile for tile in chosen_tiles(self.survey) if (cams / f"{tile}.npy").is_file()]

    @cached_property
    def _images(self) -> dict[str, NDArray[np.uint8]]:
        return {tile: self.scaling.read(self.survey.image_path(tile)) for tile in self.tiles}

    @cached_property
    def _truths(self) -> dict[str, NDArray[np.uint8]]:
        return {tile: self.survey.read_mask(tile) for tile in self.tiles}

    @cached_property
    def _cams(self) -> dict[str, NDArray[np.uint8]]:
        setting = published(NO_CRF, self.scaling.channels)
        return {tile: self._refined(tile, setting) for tile in self.tiles}

    def crf_rows(self, trial: FrozenTrial) -> list[list[PicturePanel]]:
        """Tile, CAM, the trial's pseudo-label, truth."""
        parameters = CrfParameters.model_validate(trial.params)
        return [self._row(tile, "pseudo-label", self._refined(tile, parameters)) for tile in self.tiles]

    def loss_rows(self, trial: FrozenTrial) -> list[list[PicturePanel]]:
        """Tile, CAM, the run's prediction, truth; none where the run's folder is gone."""
        root = self.workspace.root.resolve()
        masks = (root / str(trial.user_attrs.get(attr.RUN, "")) / "masks").resolve()
        if not masks.is_relative_to(root):
            return []
        return [
            self._row(tile, "prediction", read_mask_file(masks / f"{tile}.png"))
            for tile in self.tiles
            if (masks / f"{tile}.png").is_file()
        ]

    def _row(self, tile: str, title: str, labels: NDArray[np.uint8]) -> list[PicturePanel]:
        cam, truth = self._cams[tile], self._truths[tile]
        return [
            PicturePanel(tile, self._images[tile], labels=False),
            PicturePanel("CAM", cam, miou=self._score(truth, cam)),
            PicturePanel(title, labels, miou=self._score(truth, labels)),
            PicturePanel("truth", truth),
        ]

    def _refined(self, tile: str, parameters: CrfParameters) -> NDArray[np.uint8]:
        return refine(
            read_cam(self.workspace.cams_dir / "val" / f"{tile}.npy"),
            self._images[tile],
            parameters,
            shown=self.survey.shown(tile),
            valid=self.survey.read_valid(tile),
            background_id=self.workspace.settled.cam.constant_background(self.survey.background_id),
            engine=self.engine,
        )

    def _score(self, truth: NDArray[np.uint8], labels: NDArray[np.uint8]) -> float | None:
        return miou(confusion(truth, labels, self.survey.num_classes)[None])
