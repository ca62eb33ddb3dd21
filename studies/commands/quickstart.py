"""Command: see everything work on a small simulated survey."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

FOLDER = Path("quickstart")
TILES, SIZE, SEED = 240, 96, 0
# So many strips that val holds the six that an interval takes
TILES_PER_STRIP = 6
# A budget that two processor cores work off in a few minutes
BUDGET: dict[str, dict[str, int]] = {"crf": {"trials": 30}, "loss": {"trials": 6}}


def quickstart(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder to work in.")] = FOLDER,
) -> None:
    """Simulate a small survey, run both studies on it, write report and maps; a few minutes on CPU."""
    from sonarseg.simulation import simulate
    from studies.commands.init import open_checked
    from studies.commands.terminal.console import ConsoleProgress, say
    from studies.commands.tune import TuneOptions, tune_studies
    from studies.config import STUDY_TOML, StudyConfig
    from studies.template import new_study, write_study_toml
    from studies.workspace import Workspace

    started = time.monotonic()
    survey, workspace = folder / "survey", folder / "study"
    if not survey.is_dir():
        options = {"tiles": TILES, "size": SIZE, "seed": SEED, "tiles_per_strip": TILES_PER_STRIP}
        with ConsoleProgress() as progress:
            simulate(survey, **options, progress=progress)
    if not (workspace / STUDY_TOML).is_file():
        settings = new_study(open_checked(survey, "none"), workspace, cuda=False).model_dump()
        budget = {section: settings[section] | few for section, few in BUDGET.items()}
        write_study_toml(workspace, StudyConfig.model_validate({**settings, **budget, "device": "cpu"}))
    tune_studies(Workspace(workspace), TuneOptions())
    _compare(workspace)
    minutes = (time.monotonic() - started) / 60
    say(f"Done in {minutes:.1f} minutes. Open {workspace / 'report.html'} in a browser.")


def _compare(folder: Path) -> None:
    """Show what self-training added: the model beside the maps it learned from and a constant guess."""
    from studies.commands.results.scoring import score_target
    from studies.commands.terminal import phases
    from studies.commands.terminal.console import console, say
    from studies.commands.terminal.scores_table import scores_table
    from studies.commands.terminal.tables import show
    from studies.workspace import Workspace

    phases.now("scoring the best model on val")
    workspace = Workspace(folder)
    model, cam = (score_target(workspace, target, "val") for target in ("best", "cam"))
    rows = {
        "best model": model["scores"],
        "CAM argmax": cam["scores"],
        "best constant guess": model["constant_guess"],
    }
    show(console, scores_table(rows))
    say("On val; the CAM is told the classes of each tile, the model is not.")
