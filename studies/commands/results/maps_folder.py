"""Whose maps a folder holds: those of another run or of other tiles are not mixed or written over."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sonarseg.errors import UserError
from sonarseg.files.whole import write_json
from sonarseg.training.checkpoint.files import CHECKPOINT
from studies.commands.options.nearby import is_survey, is_workspace

RECORD = "maps.json"
# What `sonarseg predict` writes
_WRITTEN = ("masks", "confidence", "overlays", "areas.csv", "legend.png", RECORD)


def describe_maps(run_dir: Path, tiles: Iterable[str]) -> dict[str, Any]:
    """Describe what maps are made from: a run, its checkpoint's content, and the tiles."""
    with (run_dir / CHECKPOINT).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"run": run_dir.name, "checkpoint": digest, "tiles": sorted(tiles)}


def claim(folder: Path, maps: dict[str, Any], *, overwrite: bool) -> None:
    """Take a folder for maps, or refuse it if it holds another result.

    The same maps may be written there again.

    Parameters
    ----------
    folder : Path
        Where the maps go; made if it is new.
    maps : dict
        What `describe_maps` says of them.
    overwrite : bool
        Remove the maps that are there.

    Raises
    ------
    UserError
        If it holds anything else, or is a survey or a workspace.
    """
    if is_survey(folder) or is_workspace(folder):
        kind = "survey" if is_survey(folder) else "workspace"
        raise UserError(f"{folder} is a {kind}: name another folder for the maps with --output.")
    if folder.is_dir() and any(folder.iterdir()):
        before = _read(folder / RECORD)
        if before != maps:
            if not overwrite:
                advice = "name another folder with --output, or add --overwrite"
                raise UserError(f"{folder} holds {_told(before, maps)}: {advice}.")
            _remove_maps(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RECORD, maps)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and {"run", "tiles"} <= content.keys() else None


def _told(before: dict[str, Any] | None, maps: dict[str, Any]) -> str:
    if before is None:
        return "other files"
    if before["run"] != maps["run"]:
        return f"the maps of another run, {before['run']}"
    if before["tiles"] != maps["tiles"]:
        return "the maps of other tiles"
    return f"maps of {before['run']} before it was trained again"


def _remove_maps(folder: Path) -> None:
    """Remove what `predict` wrote; other files stay, and a folder without its record or table too."""
    if not ((folder / RECORD).is_file() or (folder / "areas.csv").is_file()):
        return
    for name in _WRITTEN:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
