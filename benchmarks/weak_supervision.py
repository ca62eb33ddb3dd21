"""What each step from the paper's pipeline to ours is worth, and how near it comes to full supervision.

    python benchmarks/weak_supervision.py WORKSPACE [--seeds N] [--split test] [--only WORD...]

The workspace's crf study must be finished (`sonarseg tune crf`). Each row is a run by itself with the
settings of the row before and one change; the last rows learn from train masks. Runs and scores that are
there already are not made again. With `--split test` the test split is opened, and the database notes it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from measure_results import command, evaluation

from sonarseg.files.whole import write_json
from sonarseg.training.config import RunConfig
from sonarseg.training.run import run
from sonarseg.training.run_folder.config import CONFIG
from sonarseg.training.run_folder.record import SUMMARY, read_summary
from studies.commands.lone_runs.settings import Wishes, lone_run_config
from studies.template import CPU_TILE_PIXELS, tile_scale
from studies.workspace import Workspace

METRICS = ("miou", "miou_multiclass")
PAPER_CRF = "w-s3tseg"


@dataclass(frozen=True)
class Step:
    """One row of the table.

    Attributes
    ----------
    name, title : str
        Of its run folders, and in the table.
    changes : dict
        Sections of the run's configuration, to what they change; "own" takes over study.toml's.
    crf : str
        A dense CRF setting by name.
    """

    name: str
    title: str
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    crf: str = PAPER_CRF
    supervision: Literal["labels", "masks"] = "labels"


def steps(own: RunConfig, disk_sizes: list[tuple[int, int]]) -> list[Step]:
    """List the rows: from w-s3Tseg's pipeline at the size that fits a CPU to study.toml's settings.

    Parameters
    ----------
    own : RunConfig
        A run as study.toml has it.
    disk_sizes : list of (int, int)
        Of train tiles.
    """
    paper_network = {
        "encoder": "resnet18",
        "weights": "none",
        "encoder_training": "end-to-end",
        "stages": 2,
        "output_stride": 8,
        "decoder_channels": 64,
        "tile_scale": tile_scale(disk_sizes, CPU_TILE_PIXELS),
    }
    paper_training = {
        "warmup_epochs": 15,
        "rounds": 2,
        "epochs_per_round": 5,
        "head_factor": 3.0,
        "ema_epochs": 0.0,
        "restart_each_round": False,
        "labels_from": "cam",
    }
    training = own.training.model_dump()
    schedule = {
        name: training[name] for name in ("warmup_epochs", "rounds", "epochs_per_round", "head_factor")
    }
    paper_cam = {"setting": None, "loss": "binary", "form": "tile-max", "scales": [1.0, 0.5, 1.5, 2.0]}
    paper = {"network": paper_network, "cam": paper_cam, "training": paper_training}
    averaged = {name: training[name] for name in ("ema_epochs", "restart_each_round")}
    tuned_encoder = Step(
        "fine-tune",
        "encoder tuned on the image-level labels for some epochs",
        {"network": {"encoder_training": own.network.encoder_training}},
    )
    by_itself = {"training": {"labels_from": training["labels_from"]}}
    return [
        Step("paper", "the paper's pipeline (w-s3Tseg)", paper),
        Step(
            "survey-max",
            "maps over the largest value in the survey, one scale",
            {"cam": {"form": "survey-max", "scales": [1.0]}},
        ),
        Step(
            "candidate",
            "classes compete: candidate loss, softmax maps",
            {"cam": {"loss": "candidate", "form": "softmax"}},
        ),
        Step(
            "features",
            "features of a frozen encoder",
            {"network": own.network.model_dump() | {"encoder_training": "frozen"}, "training": schedule},
        ),
        Step(
            "averaged",
            "averaged weights, learning rate begins again each round",
            {"training": averaged},
        ),
        Step("probabilities", "later rounds labelled by the network itself", by_itself),
        *([] if own.network.encoder_training == "frozen" else [tuned_encoder]),
        Step("tuned", "**tuned CRF**", crf="tuned"),
        Step("masks", "train masks: full supervision", supervision="masks"),
    ]


def configured(
    workspace: Workspace, step: Step, run_dir: Path, seed: int, changed: dict[str, Any]
) -> RunConfig:
    """Configure a run of a row, given all changes up to it."""
    wishes = Wishes(supervision=step.supervision, crf=step.crf, seed=seed, from_scratch=True)
    settings = lone_run_config(workspace, run_dir, wishes).model_dump(mode="json")
    for section, values in changed.items():
        settings[section] = settings[section] | values
    if step.supervision == "masks":
        # The masks are the same in each round.
        training = settings["training"]
        training |= {"epochs_per_round": training["rounds"] * training["epochs_per_round"], "rounds": 1}
    return RunConfig.model_validate(settings)


def trained(workspace: Workspace, step: Step, seed: int, changed: dict[str, Any]) -> Path:
    """Train a run of a row, unless it is there."""
    run_dir = workspace.root / "runs" / f"steps-{step.name}-{seed}"
    if not (run_dir / SUMMARY).is_file():
        run_dir.mkdir(parents=True, exist_ok=True)
        config = configured(workspace, step, run_dir, seed, changed)
        write_json(run_dir / CONFIG, config.model_dump(mode="json"))
        print(f"training {run_dir}", flush=True)
        run(run_dir)
    return run_dir


def spread(values: list[float]) -> str:
    """Mean of the seeds and their range."""
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def row(workspace: Path, step: Step, runs: list[Path], split: str) -> str:
    """One row of the table: scores of the split without image-level labels, and those of val by round."""
    scores = [evaluation(workspace, str(run_dir), split)["scores"] for run_dir in runs]
    summaries = [read_summary(run_dir) for run_dir in runs]
    rounds = [
        "–" if not entries else f"{np.mean([entry['metrics']['miou_multiclass'] for entry in entries]):.3f}"
        for entries in by_round(summaries)
    ]
    seconds = np.mean([summary["seconds"] for summary in summaries])
    cells = [spread([score[metric] for score in scores]) for metric in METRICS]
    return f"| {step.title} | {' | '.join(cells)} | {', '.join(rounds)} | {seconds:.0f} |"


def by_round(summaries: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Scores of val by round, from 0: one entry per seed."""
    last = max(entry["round"] for summary in summaries for entry in summary["rounds"])
    return [
        [entry for summary in summaries for entry in summary["rounds"] if entry["round"] == number]
        for number in range(last + 1)
    ]


def main() -> None:
    """Train and score every row, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--only", nargs="*", default=[], help="names of rows")
    arguments = parser.parse_args()
    workspace = Workspace(arguments.workspace)
    command("status", str(arguments.workspace))
    survey = workspace.survey()
    sizes = [survey.read_image(name).shape[:2] for name in survey.splits["train"][:20]]
    own = lone_run_config(
        workspace, workspace.root / "runs" / "steps", Wishes(crf=PAPER_CRF, from_scratch=True)
    )
    changed: dict[str, Any] = {}
    rows = []
    for step in steps(own, sizes):
        for section, values in step.changes.items():
            changed[section] = changed.get(section, {}) | values
        if arguments.only and step.name not in arguments.only:
            continue
        runs = [
            trained(workspace, step, seed, json.loads(json.dumps(changed))) for seed in range(arguments.seeds)
        ]
        rows.append(row(arguments.workspace, step, runs, arguments.split))
    scored = f"{arguments.split}, no image-level labels used"
    print(f"| {scored} | `miou` | `miou_multiclass` | val by round, from 0 | s per run |")
    print("|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
