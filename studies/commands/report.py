"""Command: write the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.commands.workspace_choice import WorkspaceArgument, find_workspace


def report(
    workspace: WorkspaceArgument = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="By default report.html in the workspace."),
    ] = None,
) -> None:
    """Write the HTML report of the studies, finished or still running."""
    from studies.commands.console import console
    from studies.commands.finish import write_results

    console.print(f"Report: {write_results(find_workspace(workspace), output)}")
