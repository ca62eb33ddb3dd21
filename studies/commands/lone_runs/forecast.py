"""What `sonarseg run --dry` tells: time and memory of a run and of the study, after a few steps."""

from __future__ import annotations

from pathlib import Path

from sonarseg.training.dry_run import Forecast, dry_run
from sonarseg.training.run_folder.config import CONFIG, read_config
from sonarseg.training.schedule import FINE_TUNE, SELF_TRAINING, WARM_UP
from studies.commands.lone_runs.settings import Wishes, dry_run_config
from studies.commands.terminal.console import ConsoleProgress, console
from studies.commands.terminal.tables import FittingTable, inert, show
from studies.storage.open import load_study, present_studies
from studies.trials.loop import finished
from studies.workers.leases import device_slots
from studies.workspace import Workspace

_GIB = 2**30


def show_forecast(workspace: Workspace, run_dir: Path | None, wishes: Wishes) -> None:
    """Try out the run of `run_dir`, or a new one, and print what it would take; nothing is left of it.

    Raises
    ------
    UserError
        Where the settings or the survey are wrong.
    RunFailed
        Where memory runs out.
    """
    if run_dir is not None and (run_dir / CONFIG).is_file():
        config = read_config(run_dir)
    else:
        run_dir = run_dir or workspace.runs_dir / "dry"
        config = dry_run_config(workspace, run_dir, wishes)
    with ConsoleProgress() as progress:
        forecast = dry_run(config, run_dir, workspace.root, progress)
    table = FittingTable(("forecast", "value"), _rows(forecast))
    show(console, table, inert(_study_sentence(workspace, forecast)))


def _rows(forecast: Forecast) -> list[tuple[str, str]]:
    rows = [
        ("device", forecast.device),
        ("batch size", f"{forecast.batch_size} tiles, {forecast.steps} steps an epoch"),
        ("memory", f"{forecast.peak_memory / _GIB:.1f} GiB"),
    ]
    if forecast.peak_device_memory:
        rows.append(("memory of the device", f"{forecast.peak_device_memory / _GIB:.1f} GiB"))
    rows.append(("start", in_words(forecast.start_seconds)))
    for stage, seconds in forecast.epoch_seconds.items():
        rows.append((f"epoch of {stage}", f"{in_words(seconds)}, {forecast.epochs[stage]} of them"))
    if forecast.feature_seconds:
        rows.append(("features of the tuned encoder", in_words(forecast.feature_seconds)))
    if forecast.rounds:
        rows.append(
            ("pseudo-labels of a round", f"{in_words(forecast.round_seconds)}, {forecast.rounds} times")
        )
    rows.append(("masks at the end", in_words(forecast.end_seconds)))
    rows.append(("the whole run", in_words(forecast.run_seconds)))
    return rows


def _study_sentence(workspace: Workspace, forecast: Forecast) -> str:
    """Forecast what is left of the warm-up and of the loss study."""
    if SELF_TRAINING not in forecast.epoch_seconds:
        return "A run of the warm-up alone tells nothing of the loss study."
    config = workspace.config
    done = 0
    if workspace.database_path.is_file():
        done = len(finished(load_study(workspace.database_path, "loss")))
    left = max(0, config.loss.trials - done)
    if not left:
        return f"The loss study is done: all {config.loss.trials} trials have ended."
    workers = min(len(device_slots(config.device, config.loss.runs_per_device)), left)
    training = workspace.settled.training
    before = (
        forecast.epoch_seconds.get(WARM_UP, 0.0) * training.warmup_epochs
        + forecast.epoch_seconds.get(FINE_TUNE, 0.0) * training.fine_tune_epochs
    )
    total = before + left * study_run_seconds(workspace, forecast) / workers
    many = "1 at a time" if workers == 1 else f"{workers} at a time"
    warm_up = "warm-up and " if WARM_UP in forecast.epoch_seconds else ""
    return (
        f"The study: {warm_up}{left} loss trials, {many}, take about {in_words(total)}; "
        "pruned trials take less, and the crf study comes on top."
        f"{_cam_sentence(workspace, forecast)}"
    )


def _cam_sentence(workspace: Workspace, forecast: Forecast) -> str:
    """Forecast the cam study, if it comes before and a warm-up was tried out."""
    config = workspace.config
    if not config.cam.trials or WARM_UP not in forecast.epoch_seconds:
        return ""
    done = 0
    if workspace.database_path.is_file():
        study = present_studies(workspace.database_path).get("cam")
        done = 0 if study is None else len(finished(study))
    left = max(0, config.cam.trials - done)
    if not left:
        return ""
    workers = min(len(device_slots(config.device, config.loss.runs_per_device)), left)
    # Epochs are searched up to twice as many, and half as many at the least.
    epochs = config.training.warmup_epochs
    seconds = forecast.start_seconds + epochs * forecast.epoch_seconds[WARM_UP]
    return f" The cam study before it: {left} trials take about {in_words(left * seconds / workers)}."


def study_run_seconds(workspace: Workspace, forecast: Forecast) -> float:
    """Seconds of one trial: a run from the warm-up's network and the first pseudo-labels on."""
    training = workspace.config.training
    epochs = training.rounds * training.epochs_per_round
    return (
        forecast.start_seconds
        + epochs * forecast.epoch_seconds[SELF_TRAINING]
        + (training.rounds - 1) * forecast.round_seconds
        + forecast.end_seconds
    )


def in_words(seconds: float) -> str:
    """Put a span of time into words, as coarse as a forecast is."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
