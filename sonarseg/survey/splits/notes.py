"""What a check says of the splits."""

from __future__ import annotations

import shlex

from sonarseg.survey.layout import ReadSurvey, Survey


def split_notes(read: ReadSurvey) -> list[str]:
    """Say who made the splits, and what in them a person should know."""
    survey, notes = read.survey, []
    if read.made_splits and _scored(survey):
        notes.append(f"{survey.root / 'splits'} holds no lists: splits were made by group.")
    elif read.made_splits:
        notes.append(f"{survey.root / 'masks'} holds no mask: all labelled tiles are trained on.")
    return notes + notes_on_additions(survey)


def notes_on_additions(survey: Survey) -> list[str]:
    """Say which tiles and masks came after the splits were made, and how to make them again."""
    folder, notes = survey.root / "splits", []
    resplit = f"`sonarseg init {shlex.quote(str(survey.root))} --resplit`"
    if survey.added:
        count, first = len(survey.added), survey.added[0]
        tiles = f"The tile {first} is" if count == 1 else f"{count} tiles, {first} for one, are"
        notes.append(f"{tiles} in no list of {folder} and trained on: {resplit} makes all splits again.")
    masked = 0 if _scored(survey) else sum(survey.has_mask(tile) for tile in survey.splits["train"])
    if masked:
        notes.append(
            f"{masked} train tiles have masks, but no tile is in val, so nothing can be scored: {resplit} "
            "moves some to val and test."
        )
    return notes


def _scored(survey: Survey) -> bool:
    return bool(survey.splits["val"] or survey.splits["test"])
