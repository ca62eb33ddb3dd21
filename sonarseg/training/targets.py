"""What the decoder is trained on, round by round: pseudo-labels, or masks for the upper bound."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from joblib import cpu_count
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.densecrf.engine import pick_engine
from sonarseg.progress import Progress
from sonarseg.survey.layout import Survey
from sonarseg.training.cams import write_cams
from sonarseg.training.config import RunConfig
from sonarseg.training.model_file import Model
from sonarseg.training.pseudo_labels import make_pseudo_labels, read_frequencies, read_pseudo_label
from sonarseg.training.tiles import Tiles, scaled_size

IGNORE = 255


class RoundTargets:
    """Makes the targets of a round once and keeps them until the next.

    Parameters
    ----------
    run_dir : Path
        Pseudo-labels are kept in `run_dir/pseudo_labels/round-N` until the run has ended, so that
        a run interrupted inside a round goes on with the same ones.
    config : RunConfig
        Supervision, dense CRF settings, first pseudo-labels.
    survey : Survey
        Images and image-level labels; masks only for `supervision = "masks"`.
    model : Model
        The network whose CAMs start a round.
    tiles : Tiles
        The train tiles.
    """

    def __init__(self, run_dir: Path, config: RunConfig, survey: Survey, model: Model, tiles: Tiles) -> None:
        self.run_dir = run_dir
        self.config = config
        self.survey = survey
        self.model = model
        self.tiles = tiles
        self.frequencies: NDArray[np.float64] | None = None
        self._round = 0
        self._targets: list[Tensor] = []

    def of_round(self, number: int, progress: Progress) -> list[Tensor]:
        """Targets of a round, uint8 (h, w) at the network's scale, one a train tile.

        The class frequencies are those of the first round and stay as they are.
        """
        if number == self._round:
            return self._targets
        if self.config.supervision == "masks":
            labels = [self.survey.read_mask(tile) for tile in self.tiles.names]
            self.frequencies = _frequencies(labels, self.survey.num_classes)
        elif self.config.supervision == "single-label":
            labels = [self._whole(index) for index in range(len(self.tiles))]
            self.frequencies = _frequencies(labels, self.survey.num_classes)
        else:
            folder = self._pseudo_labels(number, progress)
            labels = [read_pseudo_label(folder, tile) for tile in self.tiles.names]
            if self.frequencies is None:
                self.frequencies = read_frequencies(self._folder(1))
        self._targets = [self._to_network_scale(label) for label in labels]
        self._round = number
        return self._targets

    def first_frequencies(self) -> NDArray[np.float64] | None:
        """Class frequencies of the first round, also for a run resumed after its last epoch."""
        if self.frequencies is None and (self._folder(1) / "frequencies.npy").is_file():
            self.frequencies = read_frequencies(self._folder(1))
        return self.frequencies

    def clean(self) -> None:
        """Remove what only a resumed run would need; the last round's pseudo-labels stay."""
        shutil.rmtree(self.run_dir / "cams", ignore_errors=True)
        for number in range(1, self.config.training.rounds):
            shutil.rmtree(self.run_dir / "pseudo_labels" / f"round-{number}", ignore_errors=True)

    def _folder(self, number: int) -> Path:
        if number == 1 and self.config.first_pseudo_labels is not None:
            return self.config.path(self.run_dir, self.config.first_pseudo_labels)
        return self.run_dir / "pseudo_labels" / f"round-{number}"

    def _pseudo_labels(self, number: int, progress: Progress) -> Path:
        folder = self._folder(number)
        if folder.is_dir():
            return folder
        cam_dir = self.run_dir / "cams"
        several = np.flatnonzero(self.tiles.shown.sum(axis=1) > 1).tolist()
        self.model.network.eval()
        write_cams(self.model, self.tiles, several, cam_dir, self.config.cam, progress)
        make_pseudo_labels(
            self.survey,
            self.tiles.names,
            cam_dir,
            folder,
            self.config.crf,
            self.model.scaling,
            engine=pick_engine(self.config.engine, str(self.model.device)),
            jobs=int(cpu_count()),
            progress=progress,
        )
        shutil.rmtree(cam_dir)
        return folder

    def _whole(self, index: int) -> NDArray[np.uint8]:
        label = np.full(self.tiles.sizes[index], IGNORE, dtype=np.uint8)
        if self.tiles.shown[index].sum() == 1:
            label[...] = int(np.flatnonzero(self.tiles.shown[index])[0])
        return label

    def _to_network_scale(self, label: NDArray[np.uint8]) -> Tensor:
        tensor = torch.from_numpy(label)
        size = scaled_size((label.shape[0], label.shape[1]), self.config.network.tile_scale)
        if size == tuple(tensor.shape):
            return tensor
        return F.interpolate(tensor[None, None].float(), size=size, mode="nearest-exact")[0, 0].to(
            torch.uint8
        )


def _frequencies(labels: list[NDArray[np.uint8]], num_classes: int) -> NDArray[np.float64]:
    counts = np.zeros(num_classes, dtype=np.int64)
    for label in labels:
        counts += np.bincount(label[label != IGNORE].ravel(), minlength=num_classes)[:num_classes]
    return counts / max(1, int(counts.sum()))
