"""Command: one training run by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from studies.commands.options.workspace import WorkspaceOption, find_workspace

# Option to the field of config.json that it decides
_SETTINGS = {
    "supervision": "supervision",
    "crf": "crf",
    "loss": "loss",
    "gamma": "loss",
    "alpha": "loss",
    "seed": "seed",
    "from_scratch": "stage",
}
LossChoice = Literal["cross-entropy", "class-weighted", "focal", "lovasz_softmax", "tuned"]


def run(
    context: typer.Context,
    run_dir: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN_DIR", help="Folder of the run; made where it is new.", show_default=False
        ),
    ] = None,
    workspace: WorkspaceOption = None,
    supervision: Annotated[
        Literal["labels", "single-label", "masks"],
        typer.Option(
            help="Pseudo-labels from image-level labels; tiles of a single class only; or train masks."
        ),
    ] = "labels",
    crf: Annotated[
        str,
        typer.Option(
            metavar="SETTING",
            help="CRF of the pseudo-labels: tuned, crf:N, no-crf, w-s3tseg, irn, psa, deeplab.",
        ),
    ] = "tuned",
    loss: Annotated[LossChoice, typer.Option(help="Loss of the decoder.")] = "cross-entropy",
    gamma: Annotated[float, typer.Option(min=0, help="Gamma of the focal loss.")] = 2.0,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Class weighting of the focal loss.")] = 0.0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed; study.toml's where left out.", show_default=False)
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Train a warm-up of its own, not the workspace's.")
    ] = False,
    dry: Annotated[
        bool,
        typer.Option("--dry", help="Train a few steps only, leave nothing, and forecast time and memory."),
    ] = False,
) -> None:
    """Train one run with the settings of study.toml; the same command resumes it.

    It starts from the workspace's warm-up where that is finished, as the trials of the loss study do.
    Where memory runs out, it goes on with smaller batches and says so. On GPUs it waits for one that
    no study computes on.
    """
    from sonarseg.files.whole import write_atomically
    from sonarseg.processes.signals import interruptible
    from sonarseg.training.checkpoint.files import CHECKPOINT, is_whole
    from sonarseg.training.run import run as train
    from sonarseg.training.run_folder.config import CONFIG, read_config
    from sonarseg.training.run_folder.record import is_finished
    from studies.commands.lone_runs.folder_names import refuse_new_run_of_study
    from studies.commands.lone_runs.forecast import show_forecast
    from studies.commands.lone_runs.settings import (
        Wishes,
        lone_run_config,
        refuse_other_settings,
        train_on_a_lease,
    )
    from studies.commands.terminal import phases
    from studies.commands.terminal.console import ConsoleProgress, console, say
    from studies.commands.terminal.scores_table import scores_table
    from studies.commands.terminal.tables import show

    for option in ("gamma", "alpha"):
        if loss != "focal" and _was_typed(context, option):
            raise typer.BadParameter(
                f"--{option} belongs to the focal loss: add --loss focal, or leave it out."
            )
    wishes = Wishes(supervision, crf, loss, gamma, alpha, seed, from_scratch)
    if dry:
        with interruptible():
            show_forecast(find_workspace(workspace, option="-w "), run_dir, wishes)
        return
    if run_dir is None:
        raise typer.BadParameter("RUN_DIR is missing: name the folder of the run, or add --dry.")
    whole = is_finished(run_dir) and is_whole(run_dir / CHECKPOINT)
    if (run_dir / CONFIG).is_file():
        stored = read_config(run_dir)
        typed = {field for option, field in _SETTINGS.items() if _was_typed(context, option)}
        if typed:
            wanted = lone_run_config(find_workspace(workspace, option="-w "), run_dir, wishes)
            refuse_other_settings(stored, wanted, typed, run_dir)
        state = "is finished" if whole else "goes on"
        say(f"{run_dir} {state}, with the settings in its config.json.")
    else:
        refuse_new_run_of_study(run_dir)
        config = lone_run_config(find_workspace(workspace, option="-w "), run_dir, wishes)
        run_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(run_dir / CONFIG, config.model_dump_json(indent=1) + "\n")
    phases.now("preparing the run")
    with interruptible(), ConsoleProgress() as progress:
        # A finished run only says what it was: it needs no device.
        summary = train(run_dir, progress) if whole else train_on_a_lease(run_dir, progress)
    if summary["metrics"]:
        show(console, scores_table({f"{run_dir.name} on val": summary["metrics"]}))
    else:
        trained_no_decoder = read_config(run_dir).stage == "warm-up"
        why = "a warm-up has no segmentation to score" if trained_no_decoder else "val has no masks"
        say(f"{run_dir} is done; {why}, so it was not scored.")


def _was_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
