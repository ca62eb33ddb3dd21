"""Command: write the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.commands.options.workspace import find_workspace, no_other_folders

SIDE_BY_SIDE = Path("side-by-side.html")


def report(
    workspaces: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[WORKSPACE ...]",
            help="Folder with study.toml; by default the current folder, or its only subfolder that has one. "
            "Several are laid side by side in one page.",
            show_default=False,
            callback=no_other_folders,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="By default report.html in the workspace; side-by-side.html here for several.",
        ),
    ] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Print it to a PDF beside it too; needs Chromium, Chrome or Edge.")
    ] = False,
) -> None:
    """Write the HTML report of the studies, finished or still running."""
    from reports.page.build import write_side_by_side
    from reports.page.pdf import write_pdf
    from studies.commands.results.write import write_results
    from studies.commands.terminal import phases
    from studies.commands.terminal.console import say
    from studies.storage.snapshot import refresh_snapshot

    if workspaces is not None and len(workspaces) > 1:
        found = [find_workspace(named) for named in workspaces]
        phases.now("reading the studies")
        for workspace in found:
            refresh_snapshot(workspace)
        written = write_side_by_side([workspace.root for workspace in found], output or SIDE_BY_SIDE)
    else:
        chosen = find_workspace(workspaces[0] if workspaces else None)
        phases.note_in(chosen, "report")
        written = write_results(chosen, output)
    say(f"Report: {written}")
    if pdf:
        phases.now("printing the report")
        say(f"Printed: {write_pdf(written, written.with_suffix('.pdf'))}")
