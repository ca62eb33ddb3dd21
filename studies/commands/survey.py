"""Commands about a survey on disk: check, simulate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SurveyArgument = Annotated[Path, typer.Argument(metavar="SURVEY", help="Folder of the survey.")]
WRONG_INPUT = 2


def check(
    survey: SurveyArgument,
    background: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Class that every tile may hold and no label names.")
    ] = None,
    all_masks: Annotated[
        bool,
        typer.Option("--all-masks", help="Open the masks of train and test too; else only those of val."),
    ] = False,
) -> None:
    """Print what a survey holds and every problem in it; exit code 2 where there is one."""
    from sonarseg.survey.checks.survey import check_survey
    from studies.commands.options.nearby import refuse_no_survey
    from studies.commands.terminal.console import ConsoleProgress, console, say
    from studies.commands.terminal.tables import FittingTable, show

    refuse_no_survey(survey)
    opened = ("train", "val", "test") if all_masks else ("val",)
    with ConsoleProgress() as progress:
        found = check_survey(survey, background, masks=opened, progress=progress)
    show(console, FittingTable(found.header, found.rows))
    if found.background is not None:
        say(f"background: {found.background}")
    for note in found.notes:
        say(f"note: {note}")
    for problem in found.problems:
        say(f"problem: {problem}")
    if found.problems:
        raise typer.Exit(WRONG_INPUT)
    say("No problem found.")


def simulate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make; it must be empty or new.")],
    tiles: Annotated[int, typer.Option(help="Number of tiles, 30 or more.")] = 120,
    size: Annotated[int, typer.Option(help="Height and width of a tile, pixels, 24 or more.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same survey.")] = 0,
) -> None:
    """Make a simulated survey with known masks."""
    from sonarseg.simulation import simulate as simulate_survey
    from studies.commands.terminal.console import ConsoleProgress, say

    with ConsoleProgress() as progress:
        simulate_survey(folder, tiles=tiles, size=size, seed=seed, progress=progress)
    say(f"Simulated survey: {folder}; next: sonarseg init {folder}")
