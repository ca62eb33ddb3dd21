"""Exports what the studies hold: tables as CSV and Parquet, tables for a paper, figures."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from objectives.records.read import read_studies
from objectives.records.study import Study
from reports.export.figure_index import INDEX, figure_index
from reports.export.figures import FigureFormat, draw_figures, export_figures
from reports.export.latex import latex_tables
from reports.export.tables import export_tables, inert_csv
from sonarseg.errors import UserError
from sonarseg.files.whole import whole_file

ExportFormat = Literal["csv", "parquet", "latex", "svg", "png"]
FIGURES = "figures"
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)


def export(workspace: Path, folder: Path, formats: Sequence[ExportFormat]) -> list[Path]:
    """Write files of every format asked for, and list what was written.

    Parameters
    ----------
    workspace : Path
        Folder with `study.db`.
    folder : Path
        Where the files go; each appears whole or not at all. Figures go to `figures/`, with a page that
        names them all.
    formats : sequence of str
        Of `FORMATS`.

    Raises
    ------
    UserError
        Where the database cannot be read, a trial is yet to come, no browser draws the figures, or
        the folder cannot be written to.
    """
    studies = read_studies(workspace)
    if not any(study.trials for study in studies.values()):
        raise UserError(f"{workspace} holds no trial yet: run `sonarseg tune all` first.")
    written = []
    for name, content in _files(studies, workspace, formats):
        try:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with whole_file(folder / name) as partial:
                partial.write_bytes(content)
        except OSError as error:
            raise UserError(
                f"{folder / name} cannot be written ({error.strerror}): choose another folder with -o."
            ) from error
        written.append(folder / name)
    return written


def _files(
    studies: dict[str, Study], workspace: Path, formats: Sequence[ExportFormat]
) -> Iterator[tuple[str, bytes]]:
    """File names and contents."""
    if {"csv", "parquet"} & set(formats):
        for name, table in export_tables(studies, workspace).items():
            if "csv" in formats:
                yield f"{name}.csv", inert_csv(table).encode("utf-8")
            if "parquet" in formats:
                yield f"{name}.parquet", _parquet(table)
    if "latex" in formats:
        for name, text in latex_tables(studies).items():
            yield f"{name}.tex", text.encode("utf-8")
    kinds: list[FigureFormat] = [kind for kind in get_args(FigureFormat) if kind in formats]
    figures = export_figures(studies, workspace) if kinds else {}
    if figures:
        for name, content in draw_figures(figures, kinds).items():
            yield f"{FIGURES}/{name}", content
        yield f"{FIGURES}/{INDEX}", figure_index(figures, kinds).encode("utf-8")


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()
