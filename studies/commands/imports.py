"""Commands that take a survey, or its labels, from what other programs write: `sonarseg import`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studies.commands.survey import SurveyArgument
from studies.commands.terminal.errors import WRONG_INPUT

if TYPE_CHECKING:
    from sonarseg.survey.importers.tables.labels import TableLabels

# Lines of each kind on the screen; the others go to a file
MOST_LINES = 12
PROBLEMS_FILE = "import-problems.txt"


def girona(
    source: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with train/ and val/ of the framework.")
    ],
    survey: Annotated[
        Path, typer.Argument(metavar="SURVEY", help="Folder to make; it must be empty or new.")
    ],
) -> None:
    """Make a survey from the layout of the Girona framework (w-s3Tseg)."""
    from sonarseg.survey.importers.girona import import_girona
    from studies.commands.terminal.console import ConsoleProgress, say

    with ConsoleProgress() as progress:
        import_girona(source, survey, progress=progress)
    say(f"Survey: {survey}; next: sonarseg check {survey}")


def labels(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            help="Table of the tiles and their classes, .xlsx or .csv; or SURVEY/masks, if you have masks.",
        ),
    ],
    survey: SurveyArgument,
    least: Annotated[
        float, typer.Option(help="Percentage of a tile that a class must cover to count as shown.")
    ] = 1.0,
    background: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Class that gets no labels: every tile may hold it.")
    ] = None,
    sheet: Annotated[
        str | None, typer.Option(help="Sheet of the workbook, if several hold a table of tiles.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
) -> None:
    """Write labels.csv of a survey, once, from a table as people keep it, or from its masks.

    The table has a column tile, file, filename, image, name, picture or id, and either one column per class
    (1 or 0, x, yes or no, percentages) or one column that lists the classes. Without classes.txt, that is
    written too. From SURVEY/masks, the masks of every split are opened.
    """
    from sonarseg.survey.importers.mask_labels import refuse_labels, write_labels
    from sonarseg.survey.importers.tables.labels import read_label_sheet, write_table_labels
    from studies.commands.options.nearby import refuse_no_survey
    from studies.commands.terminal.console import ConsoleProgress, ask, say

    refuse_no_survey(survey)
    refuse_labels(survey)
    if table.is_dir() and table.resolve() == (survey / "masks").resolve():
        with ConsoleProgress() as progress:
            path = write_labels(survey, least / 100, background=background, progress=progress)
        say(f"Image-level labels: {path}")
        return
    found = read_label_sheet(table, survey, least=least, background=background, sheet=sheet)
    _show_labels(found)
    tell_problems(found.problems, survey)
    if not yes and not sys.stdin.isatty():
        say("Nothing is written yet: --yes writes labels.csv.")
        raise typer.Exit(WRONG_INPUT)
    if not yes and not ask("Write labels.csv?"):
        say("Nothing was written.")
        return
    say(f"Image-level labels: {write_table_labels(survey, found)}; next: sonarseg check {survey}")


class ProgramChoice(StrEnum):
    """Programs whose files are read; the names are those of `READERS`."""

    LABELME = "labelme"
    CVAT = "cvat"
    COCO = "coco"
    LABEL_STUDIO = "label-studio"


def masks(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What the program exported; for labelme also its folder.")
    ],
    survey: Annotated[
        Path | None, typer.Argument(metavar="SURVEY", help="Folder of the survey.", show_default=False)
    ] = None,
    program: Annotated[
        ProgramChoice | None,
        typer.Option("--from", help="Program, or kind of the file.", show_default=False),
    ] = None,
    rest: Annotated[
        str | None,
        typer.Option(metavar="CLASS", help="Class of pixels in no area; by default 255, not known."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace masks that are there.")] = False,
) -> None:
    """Write masks/NAME.png of each tile that was drawn on, from labelme, CVAT, COCO or Label Studio.

    Labels are the names in classes.txt, in any case; "no data" is 255. Where areas overlap, the upper one
    counts: the later one in the file, in CVAT that of the higher z_order, in COCO never a crowd.
    A survey alone has its labels.csv made from its masks, as by `sonarseg import labels SURVEY/masks SURVEY`.
    """
    from sonarseg.survey.importers.drawn.masks import read_drawn, write_drawn
    from studies.commands.options.nearby import refuse_no_survey
    from studies.commands.terminal.console import ConsoleProgress, console, say
    from studies.commands.terminal.tables import FittingTable, show

    if survey is None and program is None:
        labels(file / "masks", file)
        return
    if survey is None or program is None:
        raise typer.BadParameter(
            "FILE, SURVEY and --from belong together: name the file, the survey and the program."
        )
    refuse_no_survey(survey)
    drawn = read_drawn(file, survey, program.value, rest=rest, overwrite=overwrite)
    tell_problems(drawn.problems, survey)
    with ConsoleProgress() as progress:
        counts = write_drawn(survey, drawn, progress=progress)
    total = sum(counts.values())
    shares = [(name, f"{100 * count / total:.1f}") for name, count in counts.items() if count]
    show(console, FittingTable(("class", "% of pixels"), shares[: 2 * MOST_LINES]))
    if drawn.empty:
        say(f"without a mask: {len(drawn.empty)} tiles on which nothing was drawn{_some(drawn.empty)}")
    if drawn.missing:
        say(f"left out: {len(drawn.missing)} pictures that the survey does not have{_some(drawn.missing)}")
    say(f"{len(drawn.drawings)} masks: {survey / 'masks'}; next: sonarseg check {survey}")


def _show_labels(found: TableLabels) -> None:
    """Say what was understood of a table."""
    from studies.commands.terminal.console import console, say
    from studies.commands.terminal.tables import FittingTable, show

    say(f"understood: {'; '.join(found.notes)}")
    show(console, FittingTable(("class", "tiles"), list(found.counts().items())[: 2 * MOST_LINES]))
    if found.new_classes:
        say(f"classes.txt is missing: it gets {', '.join(found.classes)}, in this order")
    if found.background is not None:
        say(f"background: {found.background}")
    rest = f"{len(found.unlabelled)} without labels{_some(found.unlabelled)}"
    say(f"tiles: {len(found.labels)} labelled, {rest}")
    if found.missing:
        say(f"left out: {len(found.missing)} rows that name no picture of the survey{_some(found.missing)}")
    if found.passed_over:
        say(f"columns passed over: {', '.join(found.passed_over)}")


def _some(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    return f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def tell_problems(problems: tuple[str, ...], survey: Path) -> None:
    """Say what is wrong, a screen of it at most, and end; all of it is in a file of the survey then.

    Raises
    ------
    typer.Exit
        If there is a problem.
    """
    from sonarseg.files.whole import write_atomically
    from studies.commands.terminal.errors import print_error

    if not problems:
        return
    for problem in problems[:MOST_LINES]:
        print_error(problem if len(problems) == 1 else f"problem: {problem}")
    if len(problems) > MOST_LINES:
        path = survey / PROBLEMS_FILE
        write_atomically(path, "".join(f"{problem}\n" for problem in problems))
        print_error(f"{len(problems) - MOST_LINES} more problems; all {len(problems)} are in {path}.")
    raise typer.Exit(WRONG_INPUT)
