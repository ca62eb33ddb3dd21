"""Commands: run the studies of a workspace, here or on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from studies.commands.options.workspace import WorkspaceArgument, find_workspace

if TYPE_CHECKING:
    from studies.workspace import Workspace

Workers = Annotated[
    str,
    typer.Option(
        help="Trials at once: a number, or auto for one a device (crf study: one for every 8 cores)."
    ),
]
Hours = Annotated[
    float | None,
    typer.Option(
        min=0, help="Begin no trial later than this; those under way are finished.", show_default=False
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        help="postgresql://USER@HOST/DATABASE for workers on several machines; no password in it.",
        show_default=False,
    ),
]
EngineOption = Annotated[
    Literal["local", "dask"],
    typer.Option(help="Where the workers run: on this machine, or on a Dask cluster."),
]
Scheduler = Annotated[
    str | None, typer.Option(help="Dask's scheduler, as tcp://HOST:8786.", show_default=False)
]
WarmStart = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="WORKSPACE",
        help="Another workspace, or its study.db: its best settings are tried first.",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print a line of JSON a trial, for a program to read.")]


def crf(
    workspace: WorkspaceArgument = None,
    workers: Workers = "auto",
    hours: Hours = None,
    storage: Storage = None,
    engine: EngineOption = "local",
    scheduler: Scheduler = None,
    warm_start: WarmStart = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Tune the dense CRF, from the warm-up run on; the same command resumes."""
    _tune(workspace, "crf", workers, hours, storage, engine, scheduler, warm_start, quiet, as_json)


def loss(
    workspace: WorkspaceArgument = None,
    workers: Workers = "auto",
    hours: Hours = None,
    storage: Storage = None,
    engine: EngineOption = "local",
    scheduler: Scheduler = None,
    warm_start: WarmStart = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Tune the loss, on the pseudo-labels of the best CRF; the same command resumes."""
    _tune(workspace, "loss", workers, hours, storage, engine, scheduler, warm_start, quiet, as_json)


def both(
    workspace: WorkspaceArgument = None,
    workers: Workers = "auto",
    hours: Hours = None,
    storage: Storage = None,
    engine: EngineOption = "local",
    scheduler: Scheduler = None,
    warm_start: WarmStart = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run both studies, write the report and the best model's maps; the same command resumes."""
    _tune(workspace, "all", workers, hours, storage, engine, scheduler, warm_start, quiet, as_json)


def worker(
    workspace: WorkspaceArgument = None,
    study: Annotated[Literal["crf", "loss", "all"], typer.Option(help="The study to work on.")] = "all",
    hours: Hours = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Join a study with one more worker, here or on another machine; ends when the budget is spent."""
    from studies.commands.terminal import phases

    chosen = find_workspace(workspace)
    phases.note_in(chosen, "worker")
    _work(chosen, study, "1", hours, "local", None, quiet, as_json)


def _tune(
    named: Path | None,
    what: Literal["crf", "loss", "all"],
    workers: str,
    hours: float | None,
    storage: str | None,
    engine: Literal["local", "dask"],
    scheduler: str | None,
    warm_start: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    from sonarseg.survey.splits.notes import notes_on_additions
    from studies.commands.predict import predict
    from studies.commands.results.write import write_results
    from studies.commands.terminal import phases
    from studies.commands.terminal.console import console, say
    from studies.commands.terminal.ending import ending
    from studies.commands.terminal.tables import inert, show
    from studies.stages.loss import has_finished_run
    from studies.stages.open_studies import open_studies
    from studies.stages.warm_start import take_over
    from studies.storage.choice import settle_storage
    from studies.storage.single_host import only_machine

    _number(workers)
    _scheduler(engine, scheduler)
    workspace = find_workspace(named)
    phases.note_in(workspace, "tune")
    settle_storage(workspace, storage)
    if not (quiet or as_json):
        for note in notes_on_additions(workspace.survey()):
            say(f"note: {note}")
    if warm_start is not None:
        with only_machine(workspace):
            _, studies = open_studies(workspace)
            taken = take_over(studies, workspace, warm_start)
        if not (quiet or as_json):
            say(f"taken over from {warm_start}: {taken} settings")
    _work(workspace, what, workers, hours, engine, scheduler, quiet, as_json)
    if as_json:
        return
    mapped = what == "all" and has_finished_run(workspace)
    if mapped:
        predict(workspace.root)
    report = write_results(workspace, quiet=quiet)
    if quiet:
        say(f"Report: {report}")
    else:
        show(console, *ending(workspace), inert(f"Report: {report}"))
    if what == "all" and not mapped:
        _end_without_model(workspace)


def _end_without_model(workspace: Workspace) -> None:
    """Say why there are no maps; that all trials failed is a failure of the command too."""
    from optuna.trial import TrialState

    from reports.style.formatting import count
    from studies.commands.terminal.console import say
    from studies.commands.terminal.errors import FAILED
    from studies.storage.open import present_studies
    from studies.trials.loop import finished

    ended = [trial for study in present_studies(workspace.database).values() for trial in finished(study)]
    failed = sum(trial.state == TrialState.FAIL for trial in ended)
    why = f": {count(failed, 'trial')} failed, and `sonarseg status` tells why" if failed else ""
    say(f"No run is complete, so no maps were written{why}. The same command goes on.")
    if failed:
        raise typer.Exit(FAILED)


def _work(
    workspace: Workspace,
    what: Literal["crf", "loss", "all"],
    workers: str,
    hours: float | None,
    engine: Literal["local", "dask"],
    scheduler: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    from sonarseg.processes.signals import interruptible
    from studies.commands.terminal.console import ConsoleProgress
    from studies.commands.terminal.trial_lines import json_line, trial_line
    from studies.pipeline import WorkerOptions, tune_crf, tune_loss
    from studies.stages.crf import ready_for_loss_study
    from studies.stages.run_settings import RunSettings
    from studies.workers.dask import DaskWorkers
    from studies.workers.local import LocalWorkers

    with interruptible(), ConsoleProgress(quiet=quiet or as_json) as progress:
        ended = (json_line,) if as_json else () if quiet else (trial_line(workspace),)
        backend = DaskWorkers(scheduler) if scheduler else LocalWorkers()
        worker_options = WorkerOptions(_number(workers), backend, hours, ended)
        run_settings = RunSettings(progress=progress)
        going_on = True
        if what in ("crf", "all"):
            # Without pseudo-labels of a best CRF there is nothing that runs could train on.
            going_on = ready_for_loss_study(tune_crf(workspace, run_settings, worker_options))
        if what in ("loss", "all") and going_on:
            tune_loss(workspace, run_settings, worker_options)


def _number(workers: str) -> int | None:
    if workers == "auto":
        return None
    if not (workers.isascii() and workers.isdecimal()) or int(workers) < 1:
        raise typer.BadParameter(
            f"{workers} is not a number of workers: use 1, 2, ... or auto.", param_hint="--workers"
        )
    return int(workers)


def _scheduler(engine: str, scheduler: str | None) -> str:
    if engine == "dask" and not scheduler:
        raise typer.BadParameter("--engine dask needs --scheduler tcp://HOST:8786.", param_hint="--scheduler")
    if engine == "local" and scheduler:
        raise typer.BadParameter("--scheduler needs --engine dask.", param_hint="--scheduler")
    return scheduler or ""
