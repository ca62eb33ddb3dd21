"""Score a grid of dense CRF settings on a tuned workspace once, and store the scores as numbers.

    python benchmarks/record_crf_table.py WORKSPACE benchmarks/tables/sss-mallorca-crf.npz

The table holds `miou_multiclass` of every setting after every number of iterations, and for a random sample
of settings the intersections and unions of every tile. benchmarks/table_search.py searches in it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray

from objectives.crf import CrfObjective
from objectives.space import CrfRanges
from objectives.tuning_tiles import prepare_tiles
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.metrics.iou import miou_multiclass
from studies.commands.results.scaling import workspace_scaling
from studies.compatibility import val_tiles
from studies.workspace import Workspace

ITERATIONS = 10
AXES: dict[str, list[float]] = {
    "sigma_alpha": [3.0, 12.0, 45.0, 150.0],
    "sigma_beta": [1.5, 5.0, 15.0, 45.0],
    "sigma_gamma": [2.0, 12.0],
    "w_bilateral": [0.3, 3.0, 30.0],
    "w_spatial": [0.3, 3.0, 30.0],
    # Seeds, and the soft unary
    "unary": [0, 1],
    "background_score": [0.1, 0.25, 0.5],
}
UNARIES = ({"gt_prob": 0.65}, {"unary_scale": 1.0})
SAMPLE = 300


def parameters_at(index: tuple[int, ...]) -> CrfParameters:
    """Read the setting at a place of the grid."""
    values = {name: axis[place] for (name, axis), place in zip(AXES.items(), index, strict=True)}
    unary = UNARIES[int(values.pop("unary"))]
    kind = "soft" if "unary_scale" in unary else "seeds"
    return CrfParameters(**values, **unary, unary=kind, iterations=ITERATIONS, guide="raw")  # type: ignore[arg-type]


def record(workspace: Workspace, output: Path) -> None:
    """Score the grid and write the table."""
    survey = workspace.survey()
    shape = tuple(map(len, AXES.values()))
    chosen = {int(place) for place in np.random.default_rng(0).choice(np.prod(shape), SAMPLE, replace=False)}
    table = np.empty((*shape, ITERATIONS + 1), np.float32)
    tiles: list[NDArray[np.uint16]] = []
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_tiles(
            survey,
            list(val_tiles(survey)),
            workspace.cams_dir / "val",
            workspace_scaling(workspace),
            ("raw",),
            Path(folder),
        )
        objective = CrfObjective(
            prepared,
            survey.classes,
            survey.background_id,
            CrfRanges(),
            "miou_multiclass",
            jobs=int(cpu_count()),
        )
        started = time.monotonic()
        for place, index in enumerate(np.ndindex(shape)):
            histories = objective.histories(parameters_at(index), ITERATIONS)
            table[index] = [miou_multiclass(histories[:, count]) for count in range(ITERATIONS + 1)]
            if place in chosen:
                inner = np.diagonal(histories, axis1=-2, axis2=-1)
                union = histories.sum(axis=-1) + histories.sum(axis=-2) - inner
                tiles.append(np.stack([inner, union], axis=-1).astype(np.uint16))
            if place % 100 == 99:
                seconds = time.monotonic() - started
                print(
                    f"{place + 1} of {table[..., 0].size}, {seconds:.0f} s, best {table.max():.4f}",
                    flush=True,
                )
    output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(output, miou=(table * 65535).astype(np.uint16), tiles=np.stack(tiles))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    record(Workspace(arguments.workspace), arguments.output)
