"""What a crf trial takes under the torch and the numba engine, and whether both count the same."""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median

import numpy as np
from densecrf import WIDTHS, with_widths

from gpu.check import Check
from objectives.crf import CrfObjective
from objectives.tuning_tiles import TuningTile, prepare_tiles
from sonarseg.cam.files import write_cam
from sonarseg.densecrf.engines.base import Engine, make_ready
from sonarseg.survey.layout import Survey, open_survey
from sonarseg.survey.scaling import fit_scaling
from studies.config import CrfStudyConfig


def _tuning_tiles(check: Check, survey: Survey, folder: Path, jobs: int) -> list[TuningTile]:
    names = [name for name in survey.splits["val"] if survey.has_mask(name)][: check.sizes.study_tiles]
    generator = np.random.default_rng(0)
    cams, stored = folder / "cams", folder / "tuning"
    for each in (cams, stored):
        each.mkdir(parents=True)
    for name in names:
        truth = survey.read_mask(name) == np.arange(survey.num_classes)[:, None, None]
        write_cam(cams / f"{name}.npy", 0.35 * truth + 0.65 * generator.random(truth.shape))
    guides = CrfStudyConfig().guides
    return prepare_tiles(survey, names, cams, fit_scaling(survey), guides, stored, jobs=jobs)


def trials(check: Check) -> None:
    """Milliseconds of a trial by each engine, and the share of pixels that they count otherwise."""
    survey, cores = open_survey(check.survey("large")), len(os.sched_getaffinity(0))
    tiles = _tuning_tiles(check, survey, check.work / "study-step", cores)
    found = {}
    side = check.sizes.large[1]
    for engine, name in (
        (Engine("torch", check.device), "torch engine"),
        (Engine("numba"), f"numba on all cores ({cores})"),
    ):
        make_ready(engine, 1, num_classes=survey.num_classes)
        objective = CrfObjective(
            tiles, survey.classes, survey.background_id, CrfStudyConfig(), "miou", engine, cores
        )
        objective.histories(with_widths(WIDTHS[2]), 10)
        times, counted = [], []
        for widths in WIDTHS:
            started = time.perf_counter()
            counted.append(objective.histories(with_widths(widths), 10))
            times.append(time.perf_counter() - started)
        found[engine.name] = counted
        check.row(
            f"a crf trial of {len(tiles)} tiles of {side} x {side}, {name}", 1e3 * median(times), None, "ms"
        )
    moved = [np.abs(a - b).sum() / 2 / a.sum() for a, b in zip(found["torch"], found["numba"], strict=True)]
    worst = 100 * float(max(moved))
    check.row("a crf trial, pixels that the engines count otherwise, worst of 8 widths", worst, None, "%")


PARTS = (trials,)
