"""Command: pack what a colleague needs to make maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.commands.options.workspace import WorkspaceArgument, find_workspace


def pack(
    workspace: WorkspaceArgument = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.zip", help="File to make.", show_default="./WORKSPACE.zip"
        ),
    ] = None,
    run: Annotated[str, typer.Option(metavar="RUN", help="best, loss:N, or a run folder.")] = "best",
) -> None:
    """Write one file with the model, its settings and the report; `predict` needs nothing else."""
    from reports.page.build import write_report
    from studies.commands.options.targets import run_target
    from studies.commands.terminal.console import say
    from studies.pack import pack as write_pack

    chosen = find_workspace(workspace)
    run_dir = run_target(chosen, run)
    path = output or Path(f"{chosen.root.resolve().name}.zip")
    report = chosen.report_path if chosen.report_path.is_file() else write_report(chosen.root)
    write_pack(chosen, run_dir, report, path)
    size = path.stat().st_size / 1e6
    say(f"{run_dir} packed: {path} ({size:.0f} MB).")
    say("Unpacked, `sonarseg predict FOLDER --images TILES` uses it.")
