"""Commands about a survey on disk: check, simulate, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SurveyArgument = Annotated[Path, typer.Argument(metavar="SURVEY", help="Folder of the survey.")]
WRONG_INPUT = 2


def check(survey: SurveyArgument) -> None:
    """Print what a survey holds and every problem in it; exit code 2 where there is one."""
    from sonarseg.survey.check import check_survey

    from studies.commands.console import console
    from studies.commands.survey_table import survey_tables

    found = check_survey(survey)
    for table in survey_tables(found):
        console.print(table)
    for note in found.notes:
        console.print(f"note: {note}", markup=False)
    for problem in found.problems:
        console.print(f"problem: {problem}", markup=False)
    if found.problems:
        raise typer.Exit(WRONG_INPUT)
    console.print("No problem found.")


def simulate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make; it must be empty or new.")],
    tiles: Annotated[int, typer.Option(min=4, help="Number of tiles.")] = 120,
    size: Annotated[int, typer.Option(min=16, max=4096, help="Height and width of a tile, pixels.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same survey.")] = 0,
) -> None:
    """Make a simulated survey with known masks."""
    from sonarseg.simulation import simulate as simulate_survey

    from studies.commands.console import ConsoleProgress, console

    refuse_filled(folder)
    with ConsoleProgress() as progress:
        simulate_survey(folder, tiles=tiles, size=size, seed=seed, progress=progress)
    console.print(f"Simulated survey: {folder}; next: sonarseg init {folder}", markup=False)


def girona(
    source: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with train/ and val/ of the framework.")
    ],
    survey: Annotated[
        Path, typer.Argument(metavar="SURVEY", help="Folder to make; it must be empty or new.")
    ],
) -> None:
    """Make a survey from the layout of the Girona framework (w-s3Tseg)."""
    from sonarseg.survey.girona import import_girona

    from studies.commands.console import console

    refuse_filled(survey)
    import_girona(source, survey)
    console.print(f"Survey: {survey}; next: sonarseg check {survey}", markup=False)


def masks(
    survey: SurveyArgument,
    least_area: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of a tile's pixels that a class must cover to count as shown."
        ),
    ] = 0.01,
) -> None:
    """Write labels.csv of a survey from its masks, once."""
    from sonarseg.survey.mask_labels import write_labels

    from studies.commands.console import console

    path = write_labels(survey, least_area)
    console.print(f"Image-level labels: {path}", markup=False)


def refuse_filled(folder: Path) -> None:
    """Refuse a folder that holds something already.

    Raises
    ------
    UserError
        Where it does, or is a file.
    """
    from sonarseg.errors import UserError

    if folder.is_file():
        raise UserError(f"{folder} is a file: name a new folder.")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty and nothing in it is overwritten: name a new folder.")
