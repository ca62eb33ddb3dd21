"""The command `sonarseg`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import sonarseg
from sonarseg.processes.signals import interrupted_once
from studies.commands import (
    confirm,
    dashboard,
    evaluate,
    export,
    imports,
    init,
    label,
    pack,
    predict,
    quickstart,
    refine,
    report,
    run,
    status,
    survey,
    tune,
)
from studies.commands.options.export_group import RESULTS, ExportGroup
from studies.commands.options.several_images import SeveralImages
from studies.commands.options.tune_group import TuneGroup
from studies.commands.terminal.errors import SentenceGroup
from studies.commands.terminal.phases import SpokenCommand

app = typer.Typer(
    name="sonarseg",
    help="Tune and train sea-floor segmentation of side-scan sonar tiles from image-level labels.",
    cls=SentenceGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
tune_app = typer.Typer(
    help="Run the studies of a workspace; the same command resumes. Without a study's name, both.",
    cls=TuneGroup,
    no_args_is_help=True,
)
export_app = typer.Typer(
    help="Results of a workspace for other programs; or tiles of a survey, to draw masks elsewhere.",
    cls=ExportGroup,
)
import_app = typer.Typer(
    help="Take labels and masks from other programs, or a survey from another layout.", no_args_is_help=True
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"sonarseg {sonarseg.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that come before a command."""


app.command(cls=SpokenCommand)(survey.check)
app.command(cls=SpokenCommand)(init.init)
app.command(cls=SpokenCommand)(label.label)
app.add_typer(tune_app, name="tune")
app.command(cls=SpokenCommand)(status.status)
app.command(cls=SpokenCommand)(report.report)
app.command(cls=SpokenCommand)(pack.pack)
app.command(cls=SpokenCommand)(dashboard.dashboard)
app.add_typer(export_app, name="export")
app.command(cls=SeveralImages)(predict.predict)
app.command(cls=SpokenCommand)(evaluate.evaluate)
app.command(cls=SpokenCommand)(confirm.confirm)
app.command(cls=SpokenCommand)(refine.refine)
app.command(cls=SpokenCommand)(run.run)
app.command(cls=SpokenCommand)(survey.simulate)
app.add_typer(import_app, name="import")
app.command(cls=SpokenCommand)(quickstart.quickstart)
for _study, _help in tune.HELP.items():
    tune_app.command(_study, cls=SpokenCommand, help=_help)(tune.tune)
app.command(cls=SpokenCommand)(tune.worker)
import_app.command(cls=SpokenCommand)(imports.girona)
import_app.command(cls=SpokenCommand)(imports.labels)
import_app.command(cls=SpokenCommand)(imports.masks)
export_app.command(RESULTS, cls=SpokenCommand)(export.export)
export_app.command(cls=SpokenCommand)(export.tiles)


def main() -> None:
    """Run the command line."""
    with interrupted_once():
        try:
            app()
        finally:
            # Whatever the end: who copies study.db alone has all of it. Most commands have not opened it.
            if (database := sys.modules.get("objectives.records.sqlite")) is not None:
                from studies.storage.single_host import is_worked_on

                database.settle(is_worked_on)
