"""One hash for what a study stands on: images, labels, splits and val masks, never train or test masks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from sonarseg.errors import UserError
from sonarseg.survey.layout import Survey
from sonarseg.survey.splits import SPLITS


def survey_fingerprint(survey: Survey, *, masks: bool = True) -> str:
    """Hash the content that can change a study's results.

    Parameters
    ----------
    survey : Survey
    masks : bool
        False hashes the survey as if val had no masks: all that a warm-up depends on.

    Returns
    -------
    str
        16 hexadecimal digits.

    Raises
    ------
    UserError
        Where the picture of a tile is missing.
    """
    digest = hashlib.sha256()
    _add(digest, [*survey.classes], survey.background)
    for split in SPLITS:
        for tile in survey.splits[split]:
            labels = survey.labels.get(tile)
            shown = None if labels is None else labels.astype(int).tolist()
            scored = masks and split == "val" and survey.has_mask(tile)
            mask = _content(survey.mask_path(tile)) if scored else None
            _add(digest, split, tile, shown, _content(survey.image_path(tile)), mask)
    return digest.hexdigest()[:16]


def _add(digest: hashlib._Hash, *parts: object) -> None:
    # JSON keeps the borders between the parts: no two different surveys give one text.
    digest.update(json.dumps(parts).encode() + b"\n")


def _content(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"{path} is missing: put it there or take its tile from the splits.")
    return hashlib.sha256(path.read_bytes()).hexdigest()
