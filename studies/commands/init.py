"""Command: make a workspace for a survey."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from studies.commands.options.strips import StripsChoice

if TYPE_CHECKING:
    from sonarseg.survey.layout import Survey


def init(
    survey: Annotated[
        Path | None,
        typer.Argument(
            metavar="SURVEY",
            help="Folder of the survey; of --like if left out.",
            show_default=False,
        ),
    ] = None,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace", "-w", metavar="DIR", help="Folder to make.", show_default="./SURVEY-study"
        ),
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS", help="Class that every tile may hold; none for none.", show_default="found out"
        ),
    ] = None,
    groups: Annotated[
        StripsChoice | None,
        typer.Option(
            help="Strips, if there is no groups.csv: from the tiles' names (line4-0012), or none.",
            show_default="asks",
        ),
    ] = None,
    resplit: Annotated[
        bool,
        typer.Option(
            "--resplit", help="Make train, val and test again, from all tiles; for a new workspace."
        ),
    ] = False,
    setting: Annotated[
        Literal["paper"] | None,
        typer.Option(help="Take w-s3Tseg's pipeline as the paper has it.", show_default=False),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="WORKSPACE",
            help="Take the settings of this one, and its warm-up if that would be the same.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Check a survey and write a commented study.toml that fits it and this machine.

    Strips and splits that are missing are written into the survey, so that they stay.
    """
    import torch

    from sonarseg.network.timm_encoder import LITE0
    from sonarseg.network.timm_weights import missing_weights
    from studies.commands.terminal.console import say
    from studies.like import free_name
    from studies.template import new_study, refuse_existing, write_study_toml

    if like is not None:
        if setting is not None:
            raise typer.BadParameter("--setting and --like exclude each other: leave one out.")
        _init_like(like, survey, workspace, background, groups, resplit)
        return
    if survey is None:
        raise typer.BadParameter("SURVEY is missing: name the folder of your survey.")
    opened = open_checked(survey, background)
    usual = Path(f"{opened.name}-study")
    # A study keeps the splits that it was begun with: new ones need a workspace of another name.
    root = workspace or (free_name(usual) if resplit else usual)
    refuse_existing(root)
    opened = _with_lists(opened, groups, resplit)
    cuda = torch.cuda.is_available()
    path = write_study_toml(root, new_study(opened, root, cuda=cuda, paper=setting == "paper"))
    _say_what_it_holds(opened)
    if setting is None and (missing := missing_weights("imagenet", LITE0)) is not None:
        say(f"A network from scratch: {missing}.")
    say(f"Settings for {'CUDA' if cuda else 'CPU'} written to {path}; look at them, then run:")
    say(f"  sonarseg tune all {shlex.quote(str(root))}")


def _init_like(
    like: Path,
    survey: Path | None,
    workspace: Path | None,
    background: str | None,
    groups: StripsChoice | None,
    resplit: bool,
) -> None:
    """Make a workspace with the settings of another one."""
    from studies.commands.options.workspace import find_workspace
    from studies.commands.terminal.console import say
    from studies.like import free_name, settings_like, take_over_warm_up
    from studies.template import refuse_existing, write_study_toml
    from studies.workspace import Workspace

    old = find_workspace(like)
    opened = open_checked(survey or old.survey_path, background or old.config.background or "none")
    same = opened.root == old.survey_path
    # "." has no name to count up from.
    beside = like if like.name not in ("", "..") else like.resolve()
    root = workspace or free_name(beside if same else Path(f"{opened.name}-study"))
    refuse_existing(root)
    opened = _with_lists(opened, groups, resplit)
    path = write_study_toml(root, settings_like(old, opened, root))
    why_not = take_over_warm_up(old, Workspace(root), opened)
    _say_what_it_holds(opened)
    say(f"Settings of {like} written to {path}.")
    say("Its warm-up is taken over." if why_not is None else f"Its warm-up is not taken over: {why_not}.")
    say(f"Next: sonarseg tune all {shlex.quote(str(root))}")


def _say_what_it_holds(survey: Survey) -> None:
    from studies.commands.terminal.console import say

    counts = ", ".join(f"{len(tiles)} {split}" for split, tiles in survey.splits.items())
    say(f"{survey.name}: {counts} tiles; classes {', '.join(survey.classes)}.")


def _with_lists(survey: Survey, groups: StripsChoice | None, resplit: bool) -> Survey:
    """Write the strips and splits that are missing, and open the survey as it is then."""
    from sonarseg.survey.layout import open_survey
    from studies.commands.survey_lists import settle_splits, settle_strips

    if settle_strips(survey, groups):
        survey = open_survey(survey.root, survey.background)
    made = not any((survey.root / "splits" / f"{split}.txt").is_file() for split in survey.splits)
    settle_splits(survey, made=made, resplit=resplit)
    return open_survey(survey.root, survey.background)


def open_checked(root: Path, background: str | None) -> Survey:
    """Open a survey that has no problem, its background class found out or as told.

    Parameters
    ----------
    root : Path
        Folder of the survey.
    background : str or None
        A class, "none", or None to find out.

    Raises
    ------
    UserError
        Where the survey has a problem: the first one, and how many there are.
    """
    from sonarseg.errors import UserError
    from sonarseg.survey.checks.survey import check_survey
    from sonarseg.survey.layout import open_survey
    from studies.commands.options.nearby import refuse_no_survey
    from studies.commands.terminal.console import ConsoleProgress, say

    refuse_no_survey(root)
    named = None if background == "none" else background
    with ConsoleProgress() as progress:
        found = check_survey(root, named, progress=progress)
    if found.problems:
        first, count = found.problems[0], len(found.problems)
        if count > 1:
            first = f"{first.rstrip('.')} (one of {count} problems: `sonarseg check {root}` lists them all)."
        raise UserError(first)
    if background is None and found.proposed_background is not None:
        say(
            f'Nearly every train tile shows "{found.proposed_background}", so presence does not tell where '
            "it is: it is set as the background class (--background none if you know better)."
        )
        named = found.proposed_background
    survey = open_survey(root, named)
    if survey.background is not None and named is None:
        say(f'"{survey.background}" has no labels: it is the background class.')
    return survey
