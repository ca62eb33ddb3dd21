"""What the decoder is trained on, round by round: pseudo-labels, or masks for the upper bound."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from joblib import cpu_count
from numpy.typing import NDArray

from sonarseg.cam.extract_split import cam_batches, class_maxima, stream_cams
from sonarseg.cam.files import write_cam
from sonarseg.densecrf.engines.base import pick_engine
from sonarseg.errors import UserError
from sonarseg.files.whole import whole_folder
from sonarseg.ignore import IGNORE
from sonarseg.progress import Progress
from sonarseg.survey.layout import Survey
from sonarseg.survey.no_data import without_invalid
from sonarseg.survey.pixel_store import PixelStore, StoredPicture, open_store, write_store
from sonarseg.training.checkpoint.model import Model
from sonarseg.training.config import RunConfig
from sonarseg.training.data.target_size import target_size
from sonarseg.training.data.tiles import Tiles, load_tiles
from sonarseg.training.targets.probabilities import stream_probabilities
from sonarseg.training.targets.pseudo_labels import (
    Labelling,
    label_scored,
    make_pseudo_labels,
    read_frequencies,
    read_pseudo_label,
)

PSEUDO_LABELS = "pseudo_labels"
# Tiles by their index, with scores float16 (K, H, W)
Scores = Iterator[tuple[int, NDArray[np.float16]]]


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
        The network whose CAMs or probabilities start a round.
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
        self._targets: PixelStore | None = None

    def of_round(self, number: int, progress: Progress) -> PixelStore:
        """Targets of a round, uint8 (1, h, w) at the network's scale, one a train tile.

        The class frequencies are those of the first round and stay as they are.
        """
        if self._targets is not None and number == self._round:
            return self._targets
        read = self._reader(number, progress)
        self._targets = None
        folder = self.run_dir / "targets"
        write_store(folder, map(self._at_network_scale, map(read, self.tiles.names)), len(self.tiles), {})
        self._targets = open_store(folder)
        self._round = number
        self.first_frequencies(progress)
        return self._targets

    def _reader(self, number: int, progress: Progress) -> Callable[[str], NDArray[np.uint8]]:
        """What gives a train tile's labels of a round, uint8 (H, W)."""
        if self.config.supervision == "masks":
            return self.survey.read_mask
        if self.config.supervision == "single-label":
            places = {tile: index for index, tile in enumerate(self.tiles.names)}
            return lambda tile: self._whole(places[tile])
        return partial(read_pseudo_label, self._pseudo_labels(number, progress))

    def first_frequencies(self, progress: Progress) -> NDArray[np.float64]:
        """Class frequencies of the first round, also for a run resumed after its last epoch."""
        if self.frequencies is None and self.config.supervision == "labels":
            self.frequencies = read_frequencies(self._folder(1))
        elif self.frequencies is None:
            read = self._reader(1, progress)
            self.frequencies = _frequencies(map(read, self.tiles.names), self.survey.num_classes)
        return self.frequencies

    def clean(self) -> None:
        """Remove what only a resumed run would need.

        The last round's pseudo-labels stay, and the class frequencies of the first: a run whose network is
        lost trains its last epoch again.
        """
        self._targets = None
        for folder in ("cams", "targets"):
            shutil.rmtree(self.run_dir / folder, ignore_errors=True)
        for number in range(1, self.config.training.rounds):
            for path in (self.run_dir / PSEUDO_LABELS / f"round-{number}").glob("*.png"):
                path.unlink()

    def _folder(self, number: int) -> Path:
        return _round_folder(self.run_dir, self.config, number)

    def _pseudo_labels(self, number: int, progress: Progress) -> Path:
        folder = self._folder(number)
        if folder.is_dir():
            return folder
        by_network = number > 1 and self.config.training.labels_from == "probabilities"
        labelling = Labelling(
            self.survey,
            self.model.scaling,
            self.config.crf,
            pick_engine(self.config.engine, str(self.model.device)),
            int(cpu_count()),
            by_network or self.config.cam.scores_background,
        )
        self.model.network.eval()
        # A tile with one class needs no scores.
        several = np.flatnonzero(self.tiles.shown.sum(axis=1) > 1).tolist()
        if by_network:
            scores = stream_probabilities(self.model, self.tiles, several, self.config.training.tiles_a_step)
        else:
            scores = self._cams(several, progress)
        if labelling.engine.name == "pydensecrf":
            self._label_in_processes(scores, len(several), labelling, folder, progress)
        else:
            read = self._pictures(progress)
            label_scored(self._scored(scores, several), len(self.tiles), read, labelling, folder, progress)
        return folder

    def _cams(self, several: list[int], progress: Progress) -> Scores:
        maxima = class_maxima(self.model, self.tiles, self.config.cam, progress)
        batches = cam_batches(self.tiles, several, self.model, self.config.cam)
        return stream_cams(self.model, self.tiles, batches, self.config.cam, maxima)

    def _pictures(self, progress: Progress) -> Callable[[str], NDArray[np.uint8]]:
        """What gives a train tile at the size on disk: decoded once, like what the network sees of it."""
        tiles = self.tiles
        if self.config.network.tile_scale != 1:
            store = self.config.path(self.run_dir, self.config.tiles) / "train-whole"
            tiles = load_tiles(
                self.survey, tiles.names, self.model.scaling, 1, store=store, labels=False, progress=progress
            )
        places = {tile: index for index, tile in enumerate(tiles.names)}
        return lambda tile: tiles.image(places[tile])

    def _scored(self, scores: Scores, several: list[int]) -> Iterator[tuple[str, NDArray[np.float16] | None]]:
        """Tiles with several classes and their scores; then the others, which need none."""
        for index, found in scores:
            yield self.tiles.names[index], found
        needed = set(several)
        for index, name in enumerate(self.tiles.names):
            if index not in needed:
                yield name, None

    def _label_in_processes(
        self, scores: Scores, count: int, labelling: Labelling, folder: Path, progress: Progress
    ) -> None:
        """For the engine that gains from processes alone: the scores reach them as files."""
        score_dir = self.run_dir / "cams"
        with whole_folder(score_dir) as partial:
            for done, (index, found) in enumerate(scores):
                write_cam(partial / f"{self.tiles.names[index]}.npy", found)
                progress("scores", done + 1, count)
        make_pseudo_labels(
            self.survey,
            self.tiles.names,
            score_dir,
            folder,
            labelling.parameters,
            labelling.scaling,
            engine=labelling.engine,
            jobs=labelling.jobs,
            scored_background=labelling.scored_background,
            progress=progress,
        )
        shutil.rmtree(score_dir)

    def _whole(self, index: int) -> NDArray[np.uint8]:
        label = np.full(self.tiles.disk_size(index), IGNORE, dtype=np.uint8)
        if self.tiles.shown[index].sum() == 1:
            label[...] = int(np.flatnonzero(self.tiles.shown[index])[0])
        return without_invalid(label, self.survey.read_valid(self.tiles.names[index]))

    def _at_network_scale(self, label: NDArray[np.uint8]) -> StoredPicture:
        disk_size = (label.shape[0], label.shape[1])
        size = target_size(disk_size, self.config.network)
        if size == disk_size:
            return StoredPicture(label[None], disk_size)
        smaller = F.interpolate(torch.from_numpy(label)[None, None].float(), size=size, mode="nearest-exact")
        return StoredPicture(smaller[0].to(torch.uint8).numpy(), disk_size)


def refuse_lost_labels(run_dir: Path, config: RunConfig) -> None:
    """Refuse to go on with self-training where the first pseudo-labels, which all runs share, are gone.

    They were made by the network of the warm-up: what this run's has become would make others.

    Raises
    ------
    UserError
        Where they are gone.
    """
    if config.first_pseudo_labels is None or config.supervision != "labels":
        return
    folder = config.path(run_dir, config.first_pseudo_labels)
    if not folder.is_dir():
        raise UserError(
            f"{folder} is missing: it held the pseudo-labels with which {run_dir} began. Put it back from a "
            "copy; `sonarseg tune loss` makes those of its study again."
        )


def _round_folder(run_dir: Path, config: RunConfig, number: int) -> Path:
    if number == 1 and config.first_pseudo_labels is not None:
        return config.path(run_dir, config.first_pseudo_labels)
    return run_dir / PSEUDO_LABELS / f"round-{number}"


def _frequencies(labels: Iterable[NDArray[np.uint8]], num_classes: int) -> NDArray[np.float64]:
    counts = np.zeros(num_classes, dtype=np.int64)
    for label in labels:
        counts += np.bincount(label[label != IGNORE].ravel(), minlength=num_classes)[:num_classes]
    return counts / max(1, int(counts.sum()))
