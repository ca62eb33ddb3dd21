"""What a check notes on masks that say less than the labels do."""

from __future__ import annotations

from sonarseg.survey.checks.scored_classes import not_scored, unscored_classes
from sonarseg.survey.checks.tally import SplitTally
from sonarseg.survey.layout import Survey


def mask_notes(survey: Survey, tallies: dict[str, SplitTally]) -> list[str]:
    """Note for each split that is scored if its masks hold no data, two values only, or too few classes.

    Parameters
    ----------
    tallies : dict
        Split to what was counted; masks that were not opened say nothing.
    """
    notes, masks = [], survey.root / "masks"
    for split in ("val", "test"):
        tally = tallies[split]
        if not tally.masks_read:
            continue
        if not tally.pixels.any():
            notes.append(
                f"{masks}: {split} has no pixel with data, its masks are 255 everywhere: "
                "nothing can be scored on it."
            )
            continue
        unscored = unscored_classes(survey, split, tally.pixels)
        if unscored:
            notes.append(f"{masks}: {not_scored(unscored, split)}.")
        unknown = unscored or tally.labelled < tally.tiles
        if unknown and tally.no_data and not tally.pixels[1:].any() and survey.num_classes > 1:
            notes.append(
                f"{masks}: the masks of {split} hold the values 0 and 255 only, and 255 means no data: "
                "if it stands for a class, write the class's id in its place."
            )
    return notes
