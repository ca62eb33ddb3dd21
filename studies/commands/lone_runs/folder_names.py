"""Run folders that belong to the studies of a workspace: a lone run does not take their names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from sonarseg.errors import UserError
from studies.commands.options.nearby import is_workspace

# Name of a run folder to the command that trains it
_COMMANDS = {
    r"loss(-batch-\d+)?-\d+": "tune loss",
    r"warm-up": "tune crf",
    r"final": "tune all",
    r"confirm-.+": "confirm",
}


def refuse_new_run_of_study(run_dir: Path) -> None:
    """Refuse to begin a run in a folder that a study names.

    Parameters
    ----------
    run_dir : Path
        A folder without config.json.

    Raises
    ------
    UserError
        With the command that trains what belongs there.
    """
    place = run_dir.resolve()
    workspace = place.parent.parent
    if place.parent.name != "runs" or not is_workspace(workspace):
        return
    for pattern, command in _COMMANDS.items():
        if re.fullmatch(pattern, place.name):
            # The workspace as it was typed
            typed = run_dir.parent.parent if len(run_dir.parts) > 2 else workspace
            full = f"sonarseg {command} {shlex.quote(str(typed))}"
            raise UserError(
                f"{run_dir} is the folder of a run of the study: `{full}` trains it. "
                "Name another folder for a run by itself."
            )
