"""The command `sonarseg`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import sonarseg
from studies.commands import (
    confirm,
    dashboard,
    evaluate,
    export,
    init,
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
from studies.commands.sentences import SentenceGroup
from studies.commands.several_images import SeveralImages
from studies.commands.tune_group import TuneGroup
from studies.interrupts import interrupted_once

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
import_app = typer.Typer(help="Make a survey from other data.", no_args_is_help=True)


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


app.command()(survey.check)
app.command()(init.init)
app.add_typer(tune_app, name="tune")
app.command()(status.status)
app.command()(report.report)
app.command()(pack.pack)
app.command()(dashboard.dashboard)
app.command()(export.export)
app.command(cls=SeveralImages)(predict.predict)
app.command()(evaluate.evaluate)
app.command()(confirm.confirm)
app.command()(refine.refine)
app.command()(run.run)
app.command()(survey.simulate)
app.add_typer(import_app, name="import")
app.command()(quickstart.quickstart)
tune_app.command()(tune.crf)
tune_app.command()(tune.loss)
tune_app.command("all")(tune.both)
app.command()(tune.worker)
import_app.command()(survey.girona)
import_app.command()(survey.masks)


def main() -> None:
    """Run the command line."""
    with interrupted_once():
        try:
            app()
        finally:
            # Whatever the end: who copies study.db alone has all of it. Most commands have not opened it.
            if (database := sys.modules.get("reports.database")) is not None:
                database.settle_written()
