"""`python benchmarks/agreement.py WORKSPACE ...`: the tuned CRF's scores by our engine and by pydensecrf.

Prints a Markdown table of `miou_multiclass` on val and test: the numba engine, pydensecrf given the same
features, and pydensecrf with grey repeated to RGB, as people call it. The test split is opened, and the
database notes it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from crf_study import pydensecrf_labels
from joblib import Parallel, delayed
from numpy.typing import NDArray

from sonarseg.cam.files import read_cam
from sonarseg.cam.hard_labels import with_background
from sonarseg.densecrf.engines.base import Engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.refine import refine
from sonarseg.metrics.confusion import confusion
from sonarseg.metrics.iou import miou_multiclass
from sonarseg.survey.guide import guide_image
from sonarseg.survey.layout import Survey
from sonarseg.survey.scaling import GreyScaling
from studies.commands.results.scaling import workspace_scaling
from studies.stages.crf import best_crf_parameters
from studies.storage.open import load_study
from studies.storage.openings import log_test_opening
from studies.workspace import Workspace

WAYS = ("numba", "pydensecrf", "pydensecrf, RGB")


def tile_confusions(
    survey: Survey, tile: str, cams: Path, scaling: GreyScaling, parameters: CrfParameters
) -> list[NDArray[np.int64]]:
    """Confusion matrices of a tile by each of `WAYS`."""
    scores, image, shown = (
        read_cam(cams / f"{tile}.npy"),
        scaling.read(survey.image_path(tile)),
        survey.shown(tile),
    )
    labels = [
        refine(
            scores, image, parameters, shown=shown, background_id=survey.background_id, engine=Engine(name)
        )
        for name in ("numba", "pydensecrf")
    ]
    labels.append(labels[0])
    if shown.sum() > 1 and image.ndim == 2:
        labelled = with_background(scores, survey.background_id, parameters.background_score)
        cut = np.ascontiguousarray(labelled[shown])
        found = pydensecrf_labels(cut, guide_image(image, parameters.guide), parameters)
        labels[2] = np.flatnonzero(shown).astype(np.uint8)[found]
    truth = survey.read_mask(tile)
    return [confusion(truth, each, survey.num_classes) for each in labels]


def main() -> None:
    """Print the table."""
    print(f"| survey | split | {' | '.join(WAYS)} |\n|---|---|{'---|' * len(WAYS)}")
    for folder in sys.argv[1:]:
        workspace = Workspace(Path(folder))
        parameters = best_crf_parameters(load_study(workspace.database_path, "crf"))
        log_test_opening(workspace, "benchmarks/agreement.py")
        survey, scaling = workspace.survey().with_masks_of("test"), workspace_scaling(workspace)
        for split in ("val", "test"):
            tiles = [tile for tile in survey.splits[split] if survey.has_mask(tile)]
            cams = (workspace.cams_dir / split).resolve()
            work = (delayed(tile_confusions)(survey, tile, cams, scaling, parameters) for tile in tiles)
            found = np.array(Parallel(n_jobs=-1)(work))
            values = [f"{miou_multiclass(found[:, way]):.4f}" for way in range(len(WAYS))]
            print(f"| {survey.name} | {split} | {' | '.join(values)} |", flush=True)


if __name__ == "__main__":
    main()
