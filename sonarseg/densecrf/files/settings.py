"""What the masks in a folder were made with, written beside them, so that no folder mixes settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sonarseg.densecrf.engines.base import Engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.errors import UserError
from sonarseg.files.settings import read_settings
from sonarseg.files.whole import write_json
from sonarseg.survey.scaling import GreyScaling

# Written while --overwrite replaces masks of another setting, and taken away when all are replaced.
_OVERWRITING = "overwriting"


def settings_of(
    parameters: CrfParameters,
    scaling: GreyScaling,
    engine: Engine,
    *,
    labels: bool,
    background_id: int | None,
) -> dict[str, Any]:
    """Everything that decides a mask beside scores and picture, as JSON holds it.

    `labels` says whether a table tells what classes each tile may hold.
    """
    return {
        **parameters.model_dump(mode="json"),
        "engine": engine.name,
        "labels": labels,
        "background": background_id,
        "grey levels": [scaling.low, scaling.high],
        "channels": scaling.channels,
    }


def refuse_other_settings(path: Path, settings: dict[str, Any]) -> None:
    """Refuse to go on with masks that were made otherwise.

    Raises
    ------
    UserError
        Where the file says so, or cannot be read; not where there is none.
    """
    if not path.exists():
        return
    try:
        stored, _ = read_settings(path)
    except UserError as error:
        raise UserError(
            f"{path} cannot be read ({str(error).rstrip('.')}): it says how the masks beside it were made; "
            "choose another OUT, or make all masks anew with --overwrite."
        ) from error
    if stored.get(_OVERWRITING):
        raise UserError(
            f"{path} says that the masks beside it were being replaced by others: "
            "finish with the same command and --overwrite."
        )
    differing = [name for name in settings if stored.get(name) != settings[name]]
    if differing:
        name = differing[0]
        more = f" ({len(differing) - 1} more differ)" if len(differing) > 1 else ""
        raise UserError(
            f"{path} says that the masks beside it were made with {name} = {stored.get(name)}, "
            f"now it is {settings[name]}{more}: use the same setting, choose another OUT, "
            "or make all masks anew with --overwrite."
        )


def write_settings(path: Path, settings: dict[str, Any], *, overwriting: bool = False) -> None:
    """Write the settings beside the masks; `overwriting` while masks of another setting are replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**settings, _OVERWRITING: True} if overwriting else settings)
