"""Commands: results of the studies, and tiles of a survey, as files for other programs."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from studies.commands.options.workspace import WorkspaceArgument, find_workspace
from studies.commands.survey import SurveyArgument


class SplitChoice(StrEnum):
    """Which tiles may be written alone."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class FormatChoice(StrEnum):
    """What may be written."""

    CSV = "csv"
    PARQUET = "parquet"
    LATEX = "latex"
    SVG = "svg"
    PNG = "png"


def export(
    workspace: WorkspaceArgument = None,
    to: Annotated[
        list[FormatChoice] | None,
        typer.Option(
            "--to",
            help="What to write, several times for several; csv and latex where left out.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="By default export/ in the workspace."),
    ] = None,
) -> None:
    """Write trials, tiles, epochs and confirmed results as CSV or Parquet, LaTeX tables, and figures.

    SVG and PNG are drawn by the machine's own Chromium, Chrome or Edge; figures/index.html lists them.
    """
    from reports.export.files import FORMATS
    from reports.export.files import export as write_files
    from studies.commands.terminal.console import say
    from studies.storage.snapshot import refresh_snapshot

    chosen = find_workspace(workspace)
    refresh_snapshot(chosen)
    wanted = {choice.value for choice in to or (FormatChoice.CSV, FormatChoice.LATEX)}
    folder = output or chosen.root / "export"
    written = write_files(chosen.root, folder, [name for name in FORMATS if name in wanted])
    counts = Counter(path.suffix.removeprefix(".") for path in written)
    kinds = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    say(f"{kinds} in {folder}")


def tiles(
    survey: SurveyArgument,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder to make; it must be empty or new.")
    ],
    split: Annotated[
        SplitChoice | None, typer.Option(help="Tiles of this split alone.", show_default=False)
    ] = None,
) -> None:
    """Write tiles as 8-bit PNGs, with the lists of classes that labelme, CVAT and Label Studio read.

    Draw on these pictures, and bring the masks back with `sonarseg import masks`.
    """
    from sonarseg.survey.importers.drawn.tiles_to_draw import export_tiles
    from sonarseg.survey.layout import open_survey
    from studies.commands.options.nearby import refuse_no_survey
    from studies.commands.terminal.console import ConsoleProgress, say

    refuse_no_survey(survey)
    opened = open_survey(survey)
    with ConsoleProgress() as progress:
        count = export_tiles(
            opened, folder, None if split is None else opened.splits[split.value], progress=progress
        )
    say(f"{count} tiles in {folder}; next: sonarseg import masks --from PROGRAM FILE {survey}")
