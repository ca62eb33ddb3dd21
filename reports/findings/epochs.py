"""Training curves: metrics.jsonl of the runs, the shared warm-up before them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from objectives.records.study import Trial
from objectives.records.trial import ROUNDS
from reports.style.formatting import finite
from sonarseg.files.run_metrics import read_metrics

WARM_UP = Path("runs") / "warm-up"
FINAL = Path("runs") / "final"


@dataclass(frozen=True)
class Curve:
    """One run, epoch by epoch, the warm-up counted first.

    Attributes
    ----------
    epochs : list of int
        From 1.
    rounds : list of int
        Round of self-training of each epoch; 0 during the warm-up.
    values : dict
        A list a measure, as long as `epochs`; None where nothing was measured.
    """

    epochs: list[int]
    rounds: list[int]
    values: dict[str, list[float | None]]

    @property
    def warm_up_end(self) -> int:
        """Last epoch of the warm-up, 0 without one."""
        return max((e for e, r in zip(self.epochs, self.rounds, strict=True) if r == 0), default=0)

    @property
    def round_starts(self) -> list[int]:
        """First epoch of every round: new pseudo-labels are made before it."""
        starts: dict[int, int] = {}
        for epoch, number in zip(self.epochs, self.rounds, strict=True):
            if number > 0:
                starts.setdefault(number, epoch)
        return sorted(starts.values())


MEASURES = (
    "loss_segmentation",
    "loss_classification",
    "val_loss_segmentation",
    "val_loss_classification",
    "miou",
    "miou_multiclass",
    "miou_paper",
)


def read_trial(workspace: Path, trial: Trial, metric: str) -> Curve | None:
    """Read the curve of a trial's run, after that of the warm-up.

    Where the run's folder is gone, the values that the trial reported to the database stand in.
    Returns None where neither holds an epoch.
    """
    curve = read_rounds(workspace, trial)
    if curve is not None or not trial.intermediate:
        return curve
    reported = sorted(trial.intermediate.items())
    return _curve(workspace, [{"epoch": epoch, "round": 1, metric: value} for epoch, value in reported])


def read_rounds(workspace: Path, trial: Trial) -> Curve | None:
    """Read the curve of a trial's run, or of the first rounds of the run that it was read off."""
    for run in map(Path, trial.runs):
        most = trial.params.get(ROUNDS)
        lines = [line for line in _lines(workspace, run) if most is None or (line.get("round") or 0) <= most]
        if lines:
            return _curve(workspace, lines)
    return None


def read_run(workspace: Path, run: Path) -> Curve | None:
    """Read the curve of a run folder of the workspace; None where it left no epoch."""
    lines = _lines(workspace, run)
    return _curve(workspace, lines) if lines else None


def _curve(workspace: Path, lines: list[dict[str, Any]]) -> Curve:
    if all(line.get("round") for line in lines):
        warm_up = _lines(workspace, WARM_UP)
        past = int(warm_up[-1]["epoch"]) if warm_up else 0
        # a self-training run counts its own epochs from 1
        lines = warm_up + [{**line, "epoch": line["epoch"] + past} for line in lines]
    return Curve(
        epochs=[int(line["epoch"]) for line in lines],
        rounds=[int(line.get("round") or 0) for line in lines],
        values={name: [finite(line.get(name)) for line in lines] for name in MEASURES},
    )


def mean_curve(curves: list[Curve]) -> Curve:
    """Mean over runs, of the epochs that all of them have."""
    epochs = [e for e in curves[0].epochs if all(e in set(curve.epochs) for curve in curves)]
    places = [{epoch: i for i, epoch in enumerate(curve.epochs)} for curve in curves]

    def mean(name: str, epoch: int) -> float | None:
        found = [curve.values[name][place[epoch]] for curve, place in zip(curves, places, strict=True)]
        numbers = [value for value in found if value is not None]
        return sum(numbers) / len(numbers) if len(numbers) == len(found) else None

    return Curve(
        epochs=epochs,
        rounds=[curves[0].rounds[places[0][epoch]] for epoch in epochs],
        values={name: [mean(name, epoch) for epoch in epochs] for name in curves[0].values},
    )


def _lines(workspace: Path, run: Path) -> list[dict[str, Any]]:
    """Lines of a run inside the workspace; none of one elsewhere."""
    run_dir = (workspace / run).resolve()
    return read_metrics(run_dir) if run_dir.is_relative_to(workspace.resolve()) else []
