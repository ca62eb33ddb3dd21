"""Commands: run the studies of a workspace, here or on a cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from studies.commands.options.workspace import WorkspaceArgument, find_workspace

if TYPE_CHECKING:
    from studies.stages.run_settings import RunSettings
    from studies.workspace import Workspace

StudyName = Literal["cam", "crf", "loss", "all"]
# The commands of `sonarseg tune`, which have the same options
HELP: dict[StudyName, str] = {
    "cam": "Tune the class activation maps, if study.toml gives them trials; the same command resumes.",
    "crf": "Tune the dense CRF, from the warm-up run on; the same command resumes.",
    "loss": "Tune the loss, on the pseudo-labels of the best CRF; the same command resumes.",
    "all": "Run all studies, write the report and the best model's maps; the same command resumes.",
}

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


@dataclass(frozen=True)
class TuneOptions:
    """What a person asks of `sonarseg tune` and `sonarseg worker`.

    Attributes
    ----------
    study : {"cam", "crf", "loss", "all"}
        The study to work on.
    workers : int or None
        Trials at once; None is one per device, and for the crf study one for every eight cores.
    hours : float or None
        Begin no trial later than this.
    storage : str or None
        Address of a PostgreSQL server for the studies; None leaves them where they are.
    scheduler : str or None
        Address of Dask's scheduler; None runs the workers on this machine.
    warm_start : Path or None
        Another workspace, or its database, whose best settings are tried first.
    quiet : bool
        Print the result only.
    as_json : bool
        Print each trial as a line of JSON, and nothing else.
    """

    study: StudyName = "all"
    workers: int | None = None
    hours: float | None = None
    storage: str | None = None
    scheduler: str | None = None
    warm_start: Path | None = None
    quiet: bool = False
    as_json: bool = False


def tune(
    context: typer.Context,
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
    """Run the study that the command is named after; registered once per key of `HELP`."""
    study = cast(StudyName, context.command.name)
    count, dask = _number(workers), _scheduler(engine, scheduler)
    options = TuneOptions(study, count, hours, storage, dask, warm_start, quiet, as_json)
    tune_studies(find_workspace(workspace), options)


def worker(
    workspace: WorkspaceArgument = None,
    study: Annotated[StudyName, typer.Option(help="The study to work on.")] = "all",
    hours: Hours = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Join a study with one more worker, here or on another machine; ends when the budget is spent."""
    from studies.commands.terminal import phases

    chosen = find_workspace(workspace)
    phases.note_in(chosen, "worker")
    _run(chosen, TuneOptions(study, 1, hours, quiet=quiet, as_json=as_json))


def tune_studies(workspace: Workspace, options: TuneOptions, run_settings: RunSettings | None = None) -> None:
    """Run one study or all, and write the report; after all also the best model's maps.

    Parameters
    ----------
    workspace : Workspace
    options : TuneOptions
    run_settings : RunSettings, optional
        How runs are started; progress is shown on the terminal, whatever it says.

    Raises
    ------
    UserError
        If something is wrong that the person can put right.
    typer.Exit
        If all studies were asked for and all runs failed.
    KeyboardInterrupt
        After Ctrl-C; the same call goes on.
    """
    from sonarseg.survey.splits.notes import notes_on_additions
    from studies.commands.predict import predict
    from studies.commands.results.write import write_results
    from studies.commands.terminal import phases
    from studies.commands.terminal.console import console, say
    from studies.commands.terminal.ending import ending
    from studies.commands.terminal.tables import inert, show
    from studies.stages.loss import has_finished_run
    from studies.storage.choice import settle_storage

    phases.note_in(workspace, "tune")
    settle_storage(workspace, options.storage)
    notes = () if options.quiet or options.as_json else notes_on_additions(workspace.survey())
    for note in notes:
        say(f"note: {note}")
    if options.warm_start is not None:
        _take_over(workspace, options.warm_start, told=not (options.quiet or options.as_json))
    _run(workspace, options, run_settings)
    if options.as_json:
        return
    mapped = options.study == "all" and has_finished_run(workspace)
    if mapped:
        predict(workspace.root)
    report = write_results(workspace, quiet=options.quiet)
    if options.quiet:
        say(f"Report: {report}")
    else:
        show(console, *ending(workspace), inert(f"Report: {report}"))
    if options.study == "all" and not mapped:
        _end_without_model(workspace)


def _take_over(workspace: Workspace, source: Path, *, told: bool) -> None:
    from studies.commands.terminal.console import say
    from studies.stages.open_studies import open_studies
    from studies.stages.warm_start import take_over
    from studies.storage.single_host import only_machine

    with only_machine(workspace):
        _, studies = open_studies(workspace)
        taken = take_over(studies, workspace, source)
    if told:
        say(f"taken over from {source}: {taken} settings")


def _run(workspace: Workspace, options: TuneOptions, run_settings: RunSettings | None = None) -> None:
    from sonarseg.processes.signals import interruptible
    from studies.commands.terminal.console import ConsoleProgress
    from studies.commands.terminal.trial_lines import json_line, trial_line
    from studies.pipeline import WorkerOptions, tune_all, tune_cam, tune_crf, tune_loss
    from studies.stages.run_settings import DEFAULT_RUN_SETTINGS
    from studies.workers.dask import DaskWorkers
    from studies.workers.local import LocalWorkers

    with interruptible(), ConsoleProgress(quiet=options.quiet or options.as_json) as progress:
        ended = (json_line,) if options.as_json else () if options.quiet else (trial_line(workspace),)
        backend = DaskWorkers(options.scheduler) if options.scheduler else LocalWorkers()
        worker_options = WorkerOptions(options.workers, backend, options.hours, ended)
        shown = replace(run_settings or DEFAULT_RUN_SETTINGS, progress=progress)
        run = {"cam": tune_cam, "crf": tune_crf, "loss": tune_loss, "all": tune_all}[options.study]
        run(workspace, shown, worker_options)


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


def _number(workers: str) -> int | None:
    if workers == "auto":
        return None
    if not (workers.isascii() and workers.isdecimal()) or int(workers) < 1:
        raise typer.BadParameter(
            f"{workers} is not a number of workers: use 1, 2, ... or auto.", param_hint="--workers"
        )
    return int(workers)


def _scheduler(engine: str, scheduler: str | None) -> str | None:
    if engine == "dask" and not scheduler:
        raise typer.BadParameter("--engine dask needs --scheduler tcp://HOST:8786.", param_hint="--scheduler")
    if engine == "local" and scheduler:
        raise typer.BadParameter("--scheduler needs --engine dask.", param_hint="--scheduler")
    return scheduler
