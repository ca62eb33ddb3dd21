"""Command: pixel maps of a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.commands.options.workspace import WorkspaceArgument, find_workspace

BEST = "best"


def predict(
    workspace: WorkspaceArgument = None,
    run: Annotated[str, typer.Option(metavar="RUN", help="best, loss:N, or a run folder.")] = BEST,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            "--images",
            "--tiles",
            metavar="PATH...",
            help="Tiles to map: files and folders; by default all of the survey.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="By default maps/ in the workspace.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove the maps of another run or of other tiles there.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="Device; study.toml's where left out.", show_default=False)
    ] = None,
) -> None:
    """Write masks/ (class ids), confidence/ (0 to 255), overlays/ (colour), legend.png and areas.csv."""
    from sonarseg.errors import UserError
    from sonarseg.prediction import find_pictures, predict_pictures, refuse_unlike
    from sonarseg.training.checkpoint.model import load_model
    from sonarseg.training.device import pick_device
    from studies.commands.options.targets import run_target
    from studies.commands.results.maps_folder import claim, describe_maps
    from studies.commands.terminal import phases
    from studies.commands.terminal.console import ConsoleProgress, say

    chosen = find_workspace(workspace)
    phases.note_in(chosen, "predict")
    run_dir = run_target(chosen, run)
    if not images and not chosen.survey_path.is_dir():
        raise UserError(f"The survey of {chosen.root} is not here: name your tiles with --images.")
    pictures = find_pictures(*(images or [chosen.survey_path / "images"]))
    phases.now("loading the network")
    model = load_model(run_dir, pick_device(device or chosen.config.device))
    folder = output or chosen.maps_dir
    # Before the maps that are there may be removed
    refuse_unlike(model, pictures.values())
    # maps/ is the best model's: new maps of it take the place of those before.
    its_own = output is None and images is None and run == BEST
    claim(folder, describe_maps(run_dir, pictures), overwrite=overwrite or its_own)
    with ConsoleProgress() as progress:
        table = predict_pictures(model, pictures, folder, progress)
    say(f"{len(pictures)} tiles mapped by {run_dir}: {folder}; areas: {table}")
