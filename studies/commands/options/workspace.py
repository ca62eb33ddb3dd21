"""Which workspace a command is about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sonarseg.errors import UserError

if TYPE_CHECKING:
    from studies.workspace import Workspace


def _no_other_folder(named: Path | None) -> Path | None:
    """Refuse a wrong folder while the command line is read: what a command needs takes seconds to load."""
    from studies.commands.options.nearby import is_workspace, not_a_workspace

    if named is not None and not is_workspace(named):
        raise not_a_workspace(named)
    return named


def no_other_folders(named: list[Path] | None) -> list[Path] | None:
    """Refuse a wrong folder among several while the command line is read."""
    for folder in named or ():
        _no_other_folder(folder)
    return named


_HELP = "Folder with study.toml; by default the current folder, or its only subfolder that has one."
WorkspaceArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[WORKSPACE]", help=_HELP, show_default=False, callback=_no_other_folder),
]
WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        "-w",
        metavar="WORKSPACE",
        help=_HELP,
        show_default=False,
        callback=_no_other_folder,
    ),
]


def find_workspace(named: Path | None, here: Path | None = None, *, option: str = "") -> Workspace:
    """Open the workspace that was named, or the one that is meant.

    Parameters
    ----------
    named : Path or None
        What the person typed.
    here : Path, optional
        The current folder.
    option : str
        What a person types before a workspace: "-w ", or nothing if it is an argument.

    Raises
    ------
    UserError
        If there is no study.toml, with the folder that may be meant; if several subfolders have one.
    """
    from studies.commands.options.nearby import is_workspace, not_a_workspace, nothing_here
    from studies.config import STUDY_TOML
    from studies.workspace import Workspace

    if named is not None:
        if not is_workspace(named):
            raise not_a_workspace(named, here)
        return Workspace(named)
    here = here or Path()
    if (here / STUDY_TOML).is_file():
        return Workspace(here)
    candidates = sorted(path.parent for path in here.glob(f"*/{STUDY_TOML}"))
    if not candidates:
        raise nothing_here(here, option)
    if len(candidates) > 1:
        raise UserError(
            f"Several workspaces are here; name one of them: {option}"
            f"{', '.join(candidate.as_posix() for candidate in candidates)}."
        )
    return Workspace(candidates[0])
