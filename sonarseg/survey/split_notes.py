"""What a check says of the splits."""

from __future__ import annotations

from sonarseg.survey.layout import ReadSurvey, Survey


def split_notes(read: ReadSurvey) -> list[str]:
    """Say who made the splits, and what in them a person should know."""
    survey, notes = read.survey, []
    folder, resplit = survey.root / "splits", f"`sonarseg init {survey.root} --resplit`"
    scored = survey.splits["val"] or survey.splits["test"]
    if read.made_splits and scored:
        notes.append(f"{folder} holds no lists: splits were made by group.")
    elif read.made_splits:
        notes.append(f"{survey.root / 'masks'} holds no mask: all labelled tiles are trained on.")
    if survey.added:
        notes.append(added_note(survey))
    masked = 0 if scored else sum(survey.has_mask(tile) for tile in survey.splits["train"])
    if masked:
        notes.append(
            f"{masked} train tiles have masks, but no tile is in val, so nothing can be scored: {resplit} "
            "moves some to val and test."
        )
    return notes


def added_note(survey: Survey) -> str:
    """Say which tiles came after the splits were made, and how to make them again."""
    count = len(survey.added)
    tiles = (
        f"The tile {survey.added[0]} is" if count == 1 else f"{count} tiles, {survey.added[0]} for one, are"
    )
    return (
        f"{tiles} in no list of {survey.root / 'splits'} and trained on: "
        f"`sonarseg init {survey.root} --resplit` makes all splits again."
    )
