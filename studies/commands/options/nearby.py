"""Which folder a person may have meant, if the one they named is not of the kind a command needs."""

from __future__ import annotations

import difflib
import os
import shlex
import tomllib
from collections.abc import Iterable
from pathlib import Path

from sonarseg.errors import UserError
from studies.config import STUDY_TOML

# How alike two names are, 0 to 1, before one is proposed for the other
_LIKENESS = 0.6
_MOST_NAMED = 4


def is_workspace(folder: Path) -> bool:
    """Whether a folder holds study.toml."""
    return (folder / STUDY_TOML).is_file()


def is_survey(folder: Path) -> bool:
    """Whether a folder looks like a survey: it holds tiles, or names classes."""
    return (folder / "classes.txt").is_file() or (folder / "images").is_dir()


def is_likely_folder(typed: Path, here: Path | None = None) -> bool:
    """Whether a word is a path: it is there, has several parts, or is nearly the name of a workspace."""
    if typed.exists() or len(typed.parts) > 1:
        return True
    return _close(typed, filter(is_workspace, _folders_near(typed, here or Path()))) is not None


def not_a_workspace(named: Path, here: Path | None = None) -> UserError:
    """Say why a folder is no workspace, and which one may have been meant.

    Parameters
    ----------
    named : Path
        What the person typed.
    here : Path, optional
        The current folder.
    """
    here = here or Path()
    if is_survey(named):
        return UserError(f"{named} is a survey, not a workspace: {_workspace_advice(named, here)}.")
    around = next((parent for parent in named.resolve().parents if is_workspace(parent)), None)
    if named.exists() and around is not None:
        return UserError(f"{named} is a part of a workspace: name the workspace, {_shown(around, here)}.")
    if named.suffix == ".zip" and named.is_file():
        return UserError(f"{named} is a packed file: unpack it, and name the folder in it.")
    workspaces = [folder for folder in _folders_near(named, here) if is_workspace(folder)]
    if len(inside := _inside(named, workspaces)) > 1:
        return UserError(f"{_what_is_wrong(named)}: name a workspace in it, {_any_of(inside, here)}.")
    close = _close(named, workspaces)
    if close is not None:
        return UserError(f"{_what_is_wrong(named)}: did you mean {_shown(close, here)}?")
    make = f"sonarseg init SURVEY -w {shlex.quote(str(named))}"
    return UserError(f"{_what_is_wrong(named)}: make it a workspace with `{make}`.")


def refuse_no_survey(named: Path, here: Path | None = None) -> None:
    """Refuse what cannot be a survey, and say which one may have been meant.

    Parameters
    ----------
    named : Path
        What the person typed.
    here : Path, optional
        The current folder.

    Raises
    ------
    UserError
        If it is no folder, or a workspace.
    """
    here = here or Path()
    if is_workspace(named) and not is_survey(named):
        survey = _survey_of(named)
        advice = "name the folder of its tiles" if survey is None else f"its survey is {_shown(survey, here)}"
        raise UserError(f"{named} is a workspace, not a survey: {advice}.")
    if named.is_dir():
        return
    close = _close(named, filter(is_survey, _folders_near(named, here)))
    if close is not None:
        kind = "not a folder" if named.exists() else "not there"
        raise UserError(f"{named} is {kind}: did you mean {_shown(close, here)}?")


def nothing_here(here: Path, option: str = "") -> UserError:
    """Say what to do in a folder where there is no workspace; `option` comes before a name, as "-w "."""
    if is_survey(here):
        survey = here.resolve()
        return UserError(f"This folder is a survey, not a workspace: {_workspace_advice(survey, here)}.")
    if below := [folder for folder in _listed(here, "*/*") if is_workspace(folder)]:
        return UserError(f"No workspace is here, but further down: name {option}{_any_of(below, here)}.")
    return UserError(
        f"Neither this folder nor a subfolder holds a {STUDY_TOML}: make one with `sonarseg init SURVEY`."
    )


def _workspace_advice(survey: Path, here: Path) -> str:
    places = {folder.resolve() for folder in _folders_near(survey, here) if is_workspace(folder)}
    of_it = sorted(place for place in places if _survey_of(place) == survey.resolve())
    if not of_it:
        return f"make its workspace with `sonarseg init {shlex.quote(_shown(survey, here))}`"
    shown = _any_of(of_it, here)
    return f"its workspace is {shown}" if len(of_it) == 1 else f"name one of its workspaces, {shown}"


def _survey_of(workspace: Path) -> Path | None:
    """The survey that a study.toml names; None if it cannot be read."""
    try:
        content = tomllib.loads((workspace / STUDY_TOML).read_text(encoding="utf-8"))
        survey = (workspace / str(content["survey"])).resolve()
    except (OSError, ValueError, KeyError):
        return None
    return survey if survey.is_dir() else None


def _folders_near(named: Path, here: Path) -> list[Path]:
    """Folders beside and below what was named, below the current folder, and one level further down."""
    found: dict[Path, Path] = {}
    for base in (named.parent, named, here):
        for pattern in ("*", "*/*"):
            for path in _listed(base, pattern):
                found.setdefault(path.resolve(), path)
    return list(found.values())


def _listed(base: Path, pattern: str) -> list[Path]:
    if not base.is_dir():
        return []
    try:
        return sorted(path for path in base.glob(pattern) if path.is_dir())
    except PermissionError:
        # A folder that may not be read holds nothing that could be proposed.
        return []


def _close(named: Path, candidates: Iterable[Path]) -> Path | None:
    """The candidate whose name is most like the one typed; the only one inside it comes first."""
    folders = list(candidates)
    if len(inside := _inside(named, folders)) == 1:
        return inside[0]
    by_name = {folder.name.lower(): folder for folder in reversed(folders)}
    match = difflib.get_close_matches(named.name.lower(), by_name, n=1, cutoff=_LIKENESS)
    if match:
        return by_name[match[0]]
    # "reservoir" for "reservoir-study"
    longer = [folder for name, folder in by_name.items() if name.startswith(named.name.lower() + "-")]
    return longer[0] if len(longer) == 1 else None


def _inside(named: Path, folders: Iterable[Path]) -> list[Path]:
    return [folder for folder in folders if named.is_dir() and named.resolve() in folder.resolve().parents]


def _any_of(folders: Iterable[Path], here: Path) -> str:
    shown = sorted(_shown(folder, here) for folder in folders)
    return " or ".join(shown if len(shown) <= _MOST_NAMED else [*shown[:_MOST_NAMED], "another"])


def _what_is_wrong(named: Path) -> str:
    if not named.exists():
        return f"There is no folder {named}"
    return f"{named} holds no {STUDY_TOML}" if named.is_dir() else f"{named} is not a folder"


def _shown(folder: Path, here: Path) -> str:
    """Name a folder as a command needs it from here."""
    return os.path.relpath(folder.resolve(), here.resolve())
