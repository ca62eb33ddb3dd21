"""What the network of a run is given in each stage: pictures while its encoder learns, else features."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from sonarseg.progress import Progress, silent
from sonarseg.training.checkpoint.model import Model
from sonarseg.training.config import RunConfig
from sonarseg.training.data.frozen import seen_by
from sonarseg.training.data.loading import RunData
from sonarseg.training.schedule import FINE_TUNE, WARM_UP, plan

# Features of an encoder that this run alone has tuned, in its folder
TUNED = "tuned_features"


class StageData:
    """Gives the tiles of a run as its network takes them, stage by stage.

    Parameters
    ----------
    run_dir : Path
        Features of the encoder that the run has tuned are kept in `run_dir/tuned_features` until it ends.
    config : RunConfig
        Of the run.
    pictures : RunData
        From `load_run_data`.
    first : RunData
        From `new_model`: as the network takes the tiles that the run begins with.
    """

    def __init__(self, run_dir: Path, config: RunConfig, pictures: RunData, first: RunData) -> None:
        self._folder = run_dir / TUNED
        self._tunes = any(epoch.stage == FINE_TUNE for epoch in plan(config))
        self._pictures, self._first = pictures, first
        self._tuned: RunData | None = None

    def of(self, stage: str, model: Model, progress: Progress = silent) -> RunData:
        """Give the tiles for a stage; after the fine-tune stage, features are of the model's encoder."""
        if not self._tunes or stage == WARM_UP:
            return self._first
        # The stages before are over: what a device holds of their features is given back.
        self._first = self._pictures
        if stage == FINE_TUNE:
            return self._pictures
        if self._tuned is None:
            train = seen_by(model, self._pictures.train, self._folder / "train", progress)
            val = seen_by(model, self._pictures.val, self._folder / "val", progress)
            self._tuned = replace(self._pictures, train=train, val=val)
        return self._tuned

    def clean(self) -> None:
        """Remove what only a resumed run would need."""
        shutil.rmtree(self._folder, ignore_errors=True)
