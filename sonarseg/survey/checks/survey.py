"""Look a survey over: what it holds, and every problem in it with its file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sonarseg.progress import Progress, silent
from sonarseg.survey.background import propose_background
from sonarseg.survey.checks.mask_notes import mask_notes
from sonarseg.survey.checks.tally import EXTREMES, SplitTally, tally_split
from sonarseg.survey.layout import ReadSurvey, Survey, read_survey
from sonarseg.survey.lists import find_pictures
from sonarseg.survey.scaling import mixed_depths
from sonarseg.survey.splits.draw import SPLITS
from sonarseg.survey.splits.notes import split_notes
from sonarseg.survey.tile_names import listed_name, tile_name, unlistable

# Share of the pixels from which on one extreme value may be what stands for no data
LEAST_FILL = 0.005


@dataclass(frozen=True)
class SurveyCheck:
    """What a survey holds.

    Attributes
    ----------
    background : str or None
        The background class, named or found as the one class without labels.
    proposed_background : str or None
        A class that nearly every train tile shows, where there is no background yet.
    splits : dict
        "train", "val", "test" to what was counted.
    problems : list of str
        What must be put right, a sentence each, naming the file.
    notes : list of str
        What is worth knowing, a sentence each.
    """

    root: Path
    classes: tuple[str, ...]
    background: str | None
    proposed_background: str | None
    splits: dict[str, SplitTally]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def header(self) -> tuple[str, ...]:
        """Titles of the columns of `rows`."""
        return ("", *SPLITS)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The counts as a table: what is counted, then a cell for each split; "-" where not known."""
        tallies = [self.splits[split] for split in SPLITS]
        rows = [
            ("tiles", *(str(tally.tiles) for tally in tallies)),
            ("size (width x height)", *(_sizes(tally) for tally in tallies)),
            ("pictures", *(", ".join(sorted(tally.kinds)) or "-" for tally in tallies)),
            ("tiles with image-level labels", *(str(tally.labelled) for tally in tallies)),
        ]
        for index, name in enumerate(self.classes):
            if name != self.background:
                cells = (_count(tally.label_counts[index], tally.labelled) for tally in tallies)
                rows.append((f"tiles labelled {name}", *cells))
        several = (_share(tally.several_by_labels, tally.labelled) for tally in tallies)
        rows.append(("two or more classes, by labels", *several))
        rows.append(("masks", *(str(tally.masks) for tally in tallies)))
        if any(tally.masks_read for tally in tallies):
            for index, name in enumerate(self.classes):
                cells = (_share(tally.pixels[index], tally.pixels.sum()) for tally in tallies)
                rows.append((f"pixels of {name}", *cells))
            no_data = (_share(tally.no_data, tally.no_data + tally.pixels.sum()) for tally in tallies)
            rows.append(("pixels without data", *no_data))
            several = (_share(tally.several_by_masks, tally.masks_read) for tally in tallies)
            rows.append(("two or more classes, by masks", *several))
        return rows


def check_survey(
    root: Path,
    background: str | None = None,
    *,
    masks: Iterable[str] = ("val",),
    progress: Progress = silent,
) -> SurveyCheck:
    """Read every list and every tile of a survey, one after the other.

    Parameters
    ----------
    root : Path
        Folder of the survey.
    background : str or None
        The background class, where it is known.
    masks : iterable of str
        Splits whose masks are opened. Masks of train and test stay closed unless named here: what they
        hold must not lead anybody's choices.
    progress : Progress
        Called a tile.

    Raises
    ------
    UserError
        Where `root` is no folder; everything else is a problem of the result.
    """
    problems: list[str] = []
    read = read_survey(root, background, problems)
    survey = read.survey.with_masks_of(*masks)
    wrong_labels = any(str(root / "labels.csv") in problem for problem in problems)
    total = sum(len(tiles) for tiles in survey.splits.values())
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress("checking tiles", done, total)

    problems += unlistable(survey.images)
    if survey.images:
        problems += _missing_pictures(read)
    tallies = {split: tally_split(survey, split, problems, step) for split in SPLITS}
    problems += _missing_labels(read, tallies["train"], wrong_labels)
    problems += _mixed_depths(survey, tallies)
    problems += _unknown_to_train(read, tallies)
    notes = _find_notes(read, tallies, problems)
    proposed = propose_background(survey) if survey.background is None else None
    if proposed is not None:
        notes.append(
            f'Nearly every train tile shows "{proposed}", so its presence cannot teach where it lies: '
            f'consider background = "{proposed}" in study.toml.'
        )
    return SurveyCheck(survey.root, survey.classes, survey.background, proposed, tallies, problems, notes)


def _missing_pictures(read: ReadSurvey) -> list[str]:
    survey = read.survey
    problems = []
    # As a list would read the name without the suffix that it needs, in any case
    nearest = {tile_name(tile).lower(): listed_name(tile) for tile in survey.images}
    named = [
        (f"{survey.root / 'splits' / split}.txt", tile) for split in SPLITS for tile in survey.splits[split]
    ]
    named += [(f"{survey.root / 'labels.csv'} line {line}", tile) for tile, line in read.label_lines.items()]
    for place, tile in named:
        if tile not in survey.images:
            near = nearest.get(tile.lower())
            hint = f"; there is {near}" if near else ""
            problems.append(f"{place}: the tile {tile} has no picture in images{hint}.")
    return problems


def _missing_labels(read: ReadSurvey, train: SplitTally, wrong_labels: bool) -> list[str]:
    survey, path = read.survey, read.survey.root / "labels.csv"
    if not survey.splits["train"] and read.blank:
        return [f"{path}: no train tile is labelled yet: label some with `sonarseg label {survey.root}`."]
    if not survey.splits["train"]:
        return [f"{survey.root / 'splits' / 'train.txt'} lists no tile: a study needs train tiles."]
    if wrong_labels and not read.label_lines:
        # Not one row could be read, and the reason is told already.
        return []
    if not wrong_labels and not train.label_counts.any():
        return [
            f"{path} labels no train tile: write the columns tile and one for each class with 0 or 1, "
            "or take them from a table or from masks with `sonarseg import labels`."
        ]
    return [
        f"{path} has no row for the train tile {tile}: add one, or take the tile from the split."
        for tile in survey.splits["train"]
        if tile not in read.label_lines
    ]


def _mixed_depths(survey: Survey, tallies: dict[str, SplitTally]) -> list[str]:
    examples = {
        bits: survey.image_path(tile) for tally in tallies.values() for bits, tile in tally.examples.items()
    }
    mixed = mixed_depths(examples)
    return [] if mixed is None else [mixed]


def _unknown_to_train(read: ReadSurvey, tallies: dict[str, SplitTally]) -> list[str]:
    survey, train = read.survey, tallies["train"]
    # A row that could not be read may show any class.
    unread = read.label_lines.keys() - survey.labels.keys() - read.blank
    if not train.label_counts.any() or not unread.isdisjoint(survey.splits["train"]):
        return []
    return [
        f"{survey.root / 'splits' / 'val.txt'}: the tile {tile} shows "
        f'"{survey.classes[index]}", which no train tile shows: move a tile with it to train.'
        for index, tile in sorted(tallies["val"].first_shown.items())
        if not train.label_counts[index] and index != survey.background_id
    ]


def _find_notes(read: ReadSurvey, tallies: dict[str, SplitTally], problems: list[str]) -> list[str]:
    survey = read.survey
    notes = split_notes(read)
    if read.inferred_background:
        notes.append(
            f'{survey.root / "labels.csv"} has no column for "{survey.background}": it is the background.'
        )
    if read.blank:
        notes.append(
            f"{survey.root / 'labels.csv'}: {len(read.blank)} tiles are not labelled yet (blank rows): "
            "training goes without them."
        )
    homeless = len(survey.images.keys() - survey.split_of.keys() - read.blank)
    if homeless:
        notes.append(f"{survey.root / 'images'}: {homeless} pictures are in no split and not used.")
    for split in ("val", "test"):
        if not survey.splits[split]:
            notes.append(f"The {split} split is empty: nothing can be scored on it.")
        elif tallies[split].masks < tallies[split].tiles:
            lacking = [tile for tile in survey.splits[split] if not survey.has_mask(tile)]
            notes.append(
                f"{survey.root / 'masks'}: {len(lacking)} of {tallies[split].tiles} {split} tiles have no "
                f"mask, {lacking[0]} for one."
            )
    without = sum(not survey.labels[tile].any() for tile in survey.splits["train"] if tile in survey.labels)
    if without:
        notes.append(f"{survey.root / 'labels.csv'}: {without} train tiles show no class.")
    labelled = tallies["train"].label_counts
    notes += [
        f'No train tile shows "{name}".'
        for index, name in enumerate(survey.classes)
        if labelled.any() and not labelled[index] and name != survey.background
    ]
    notes += _strip_notes(survey)
    notes += _fill_notes(tallies)
    notes += mask_notes(survey, tallies)
    contradicted = [tile for tally in tallies.values() for tile in tally.contradicted]
    if contradicted:
        notes.append(
            f"{survey.root / 'labels.csv'}: the masks of {len(contradicted)} tiles show a class that their "
            f"labels deny, {contradicted[0]} for one."
        )
    stray = find_pictures(survey.root / "masks", problems).keys() - survey.images.keys()
    if stray:
        notes.append(f"{survey.root / 'masks'}: {len(stray)} masks have no tile, {min(stray)} for one.")
    return notes


def _strip_notes(survey: Survey) -> list[str]:
    homes: dict[str, set[str]] = {}
    for tile, split in survey.split_of.items():
        if tile in survey.groups:
            homes.setdefault(survey.groups[tile], set()).add(split)
    torn = sorted(strip for strip, splits in homes.items() if len(splits) > 1)
    notes = []
    if torn:
        notes.append(
            f"{survey.root / 'groups.csv'}: {len(torn)} strips, {torn[0]} for one, have tiles in several "
            "splits: scores will be too good, because tiles of a strip resemble each other."
        )
    unknown = survey.groups.keys() - survey.images.keys()
    if unknown:
        notes.append(
            f"{survey.root / 'groups.csv'}: {len(unknown)} tiles have no picture, {min(unknown)} for one."
        )
    return notes


def _fill_notes(tallies: dict[str, SplitTally]) -> list[str]:
    pixels = sum(tally.deep_pixels for tally in tallies.values())
    shares = {
        value: sum(tally.extremes[value] for tally in tallies.values()) / max(1, pixels) for value in EXTREMES
    }
    return [
        f"{share:.1%} of the pixels are {value}: if that means no data, save the pictures as GeoTIFF with "
        f"the no-data tag (gdal_edit.py -a_nodata {value}), or set these pixels to 255 in the masks at least."
        for value, share in shares.items()
        if share > LEAST_FILL
    ]


def _sizes(tally: SplitTally) -> str:
    if not tally.sizes:
        return "-"
    if len(tally.sizes) <= 2:
        return ", ".join(f"{width} x {height}" for height, width in sorted(tally.sizes))
    heights, widths = [size[0] for size in tally.sizes], [size[1] for size in tally.sizes]
    return f"{min(widths)} x {min(heights)} to {max(widths)} x {max(heights)} ({len(tally.sizes)} sizes)"


def _count(count: int, total: int) -> str:
    return f"{count} ({_share(count, total)})" if total else "-"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
