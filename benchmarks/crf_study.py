"""The crf study against the plain loop that people write: Optuna with pydensecrf, one trial after another.

Both search the same space with the same sampler, budget and tiles; the plain loop refines with RGB features,
as pydensecrf is usually called. What is timed is how long ours takes to reach the plain loop's best value.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import optuna
import torch  # noqa: F401  a study has it loaded since the warm-up
from joblib import cpu_count
from numpy.typing import NDArray
from optuna.trial import TrialState
from pydensecrf.densecrf import DenseCRF2D
from result_rows import Row, row
from scipy.ndimage import gaussian_filter

from objectives.samplers import make_sampler
from objectives.space import CrfRanges, named_crf_settings, suggest_crf
from sonarseg.cam.files import read_cam, write_cam
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.unary import unary_energy
from sonarseg.metrics.confusion import confusion
from sonarseg.metrics.iou import miou_multiclass
from sonarseg.simulation.survey import simulate
from sonarseg.survey.guide import guide_image
from sonarseg.survey.layout import Survey, open_survey
from sonarseg.survey.scaling import GreyScaling
from studies.stages.crf import best_crf_parameters, run_crf_study
from studies.stages.open_studies import open_studies
from studies.workspace import Workspace

TILES, TRIALS, SIZE = 40, 60, 256
SCALING = GreyScaling(low=0, high=255, channels=1)


def make_survey(root: Path, cams: Path) -> Survey:
    """Simulate a survey with 40 tuning tiles (val) and 40 unseen ones (test) of several classes, and CAMs."""
    simulate(root, tiles=240, size=SIZE, seed=11)
    survey = open_survey(root)
    several = [tile for tile in sorted(survey.images) if survey.shown(tile).sum() > 1]
    chosen = list(np.random.default_rng(0).permutation(several)[: 2 * TILES])
    splits = {
        "val": chosen[:TILES],
        "test": chosen[TILES:],
        "train": sorted(set(survey.images) - set(chosen)),
    }
    for split, tiles in splits.items():
        (root / "splits" / f"{split}.txt").write_text("\n".join(tiles) + "\n")
    # The strips would have to stay together.
    (root / "groups.csv").unlink()
    survey = open_survey(root).with_masks_of("test")
    for split in ("val", "test"):
        (cams / split).mkdir(parents=True)
        for tile in survey.splits[split]:
            write_cam(
                cams / split / f"{tile}.npy", cam_like(survey.read_mask(tile), survey.num_classes, tile)
            )
    return survey


def cam_like(mask: NDArray[np.uint8], classes: int, tile: str) -> NDArray[np.float32]:
    """Scores as a classifier gives them: the truth blurred widely, displaced, and mixed with smooth noise."""
    generator = np.random.default_rng(abs(hash_of(tile)))
    truth = (mask == np.arange(classes)[:, None, None]).astype(np.float32)
    moved = np.roll(truth, generator.integers(-20, 21, 2), axis=(1, 2))
    blurred = gaussian_filter(moved, (0, 30, 30))
    noise = gaussian_filter(generator.normal(size=truth.shape), (0, 20, 20))
    noise /= noise.std()
    return np.clip(0.3 * blurred + 0.1 * noise + 0.1, 0, 1).astype(np.float32)


def hash_of(text: str) -> int:
    """The same number for the same text in every process."""
    return int.from_bytes(text.encode()[-8:], "little") % 2**32


def pydensecrf_labels(
    scores: NDArray[np.float16] | NDArray[np.float32], guide: NDArray[np.uint8], parameters: CrfParameters
) -> NDArray[np.uint8]:
    """Refine as pydensecrf's documentation does it, grey repeated to RGB."""
    height, width = guide.shape
    if parameters.iterations == 0:
        return scores.argmax(0).astype(np.uint8)
    crf = DenseCRF2D(width, height, len(scores))
    crf.setUnaryEnergy(unary_energy(scores, parameters))
    crf.addPairwiseGaussian(sxy=parameters.sigma_gamma, compat=parameters.w_spatial)
    crf.addPairwiseBilateral(
        sxy=parameters.sigma_alpha,
        srgb=parameters.sigma_beta * np.sqrt(3),
        rgbim=np.ascontiguousarray(np.repeat(guide[:, :, None], 3, axis=2)),
        compat=parameters.w_bilateral,
    )
    marginals = np.asarray(crf.inference(parameters.iterations))
    return marginals.argmax(0).reshape(height, width).astype(np.uint8)


class PlainObjective:
    """A trial of the plain loop: everything decoded beforehand, one tile after the other."""

    def __init__(self, survey: Survey, cams: Path, split: str) -> None:
        self.classes = survey.num_classes
        self.tiles = []
        for tile in survey.splits[split]:
            shown = np.flatnonzero(survey.shown(tile))
            image = SCALING.apply(survey.read_image(tile))
            guides = {kind: guide_image(image, kind) for kind in CrfRanges().guides}
            scores = np.ascontiguousarray(read_cam(cams / split / f"{tile}.npy")[shown])
            self.tiles.append((shown.astype(np.uint8), scores, guides, survey.read_mask(tile)))

    def score(self, parameters: CrfParameters) -> float:
        """`miou_multiclass` of a setting under pydensecrf."""
        confusions = [
            confusion(
                truth, shown[pydensecrf_labels(scores, guides[parameters.guide], parameters)], self.classes
            )
            for shown, scores, guides, truth in self.tiles
        ]
        return float(miou_multiclass(np.stack(confusions)) or 0.0)

    def __call__(self, trial: optuna.Trial) -> float:
        """Score what the sampler suggests."""
        return self.score(suggest_crf(trial, CrfRanges(), has_background=False))


def plain_study(survey: Survey, cams: Path, seed: int) -> tuple[float, float, CrfParameters]:
    """Run the plain loop: its best value, the seconds until it had it, and its best setting."""
    started = time.perf_counter()
    objective = PlainObjective(survey, cams, "val")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Ours counts five derived trials among the named ones: both draw the same number at random after them.
    sampler = make_sampler("tpe", seed=seed, moved_on=0, budget=TRIALS)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for params in named_crf_settings(1, False).values():
        study.enqueue_trial(params)
    reached: list[tuple[float, float]] = []

    def note(_: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        reached.append((float(trial.value or 0.0), time.perf_counter() - started))

    study.optimize(objective, n_trials=TRIALS, callbacks=[note])
    best = max(value for value, _ in reached)
    seconds = next(seconds for value, seconds in reached if value == best)
    return best, seconds, CrfParameters.model_validate(study.best_params)


def our_study(folder: Path, survey: Survey, cams: Path, seed: int, race: bool = True) -> tuple[Any, float]:
    """Run the crf study of a workspace whose CAMs are there: the study and the time it began."""
    folder.mkdir()
    text = f'name = "bench"\nsurvey = "{survey.root}"\nseed = {seed}\n[crf]\ntrials = {TRIALS}\n'
    (folder / "study.toml").write_text(text + f"race = {str(race).lower()}\n")
    shutil.copytree(cams, folder / "cams")
    workspace = Workspace(folder)
    _, studies = open_studies(workspace)
    began = time.time()
    run_crf_study(studies["crf"], workspace, workspace.survey(), SCALING, jobs=int(cpu_count()))
    return studies["crf"], began


def time_to(study: optuna.Study, began: float, value: float) -> float | None:
    """Seconds until a study had a trial of this value or more; None where it never had."""
    ended = [
        trial.datetime_complete.timestamp() - began
        for trial in study.get_trials(states=(TrialState.COMPLETE,))
        if trial.datetime_complete is not None and float(trial.value or 0.0) >= value
    ]
    return min(ended, default=None)


def cases(seeds: int) -> list[Row]:
    """Rows of the study benchmark, medians over the seeds; both loops run in turn."""
    with tempfile.TemporaryDirectory(prefix="sonarseg-bench-") as name:
        folder = Path(name)
        survey = make_survey(folder / "survey", folder / "cams")
        unseen = PlainObjective(survey, folder / "cams", "test")
        found = []
        for seed in range(seeds):
            study, began = our_study(folder / f"ours-{seed}", survey, folder / "cams", seed)
            whole = max(t.datetime_complete.timestamp() - began for t in study.trials)
            value, seconds, plain_best = plain_study(survey, folder / "cams", seed)
            ours = time_to(study, began, value)
            each = {
                "peer": seconds,
                "ours": ours,
                "whole": whole,
                "pruned": sum(trial.state == TrialState.PRUNED for trial in study.trials),
                "best": study.best_value - value,
                "unseen ours": unseen.score(best_crf_parameters(study)),
                "unseen peer": unseen.score(plain_best),
            }
            print(f"seed {seed}: {each}", flush=True)
            found.append(each)
    # A study that never reached the value counts as endless.
    times = [each["ours"] if each["ours"] is not None else float("inf") for each in found]
    ratio = median(each["peer"] / time for each, time in zip(found, times, strict=True))
    unseen_ours = median(each["unseen ours"] for each in found)
    unseen_peer = median(each["unseen peer"] for each in found)
    title = f"crf study, {TRIALS} trials x {TILES} tiles"
    reached = f"{title}, time to the plain loop's best value, median of {seeds} seeds"
    unseen_case = (
        f"{title}, miou_multiclass of the best setting on unseen tiles, both under pydensecrf, "
        f"median of {seeds} seeds"
    )
    plain = median(each["peer"] for each in found)
    share = round(unseen_ours / unseen_peer, 4)
    return [
        row(reached, median(times), plain, "s", ratio=round(ratio, 2), digits=2),
        row(unseen_case, unseen_ours, unseen_peer, "miou_multiclass", ratio=share),
    ]
