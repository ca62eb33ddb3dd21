"""One hash for what a study stands on: images, labels, splits and val masks, never train or test masks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from sonarseg.errors import UserError
from sonarseg.survey.splits.draw import SPLITS

if TYPE_CHECKING:
    from sonarseg.survey.layout import Survey


def survey_fingerprints(survey: Survey) -> tuple[str, str]:
    """Hash the content that can change a study's results; every file is read once.

    Returns
    -------
    (str, str)
        16 hexadecimal digits each: of all of it, and as if val had no masks, which is all that a warm-up
        depends on.

    Raises
    ------
    UserError
        Where the picture of a tile is missing.
    """
    scored, unscored = hashlib.sha256(), hashlib.sha256()
    for digest in (scored, unscored):
        _add(digest, [*survey.classes], survey.background)
    for split in SPLITS:
        for tile in survey.splits[split]:
            labels = survey.labels.get(tile)
            shown = None if labels is None else labels.astype(int).tolist()
            picture = _content(survey.image_path(tile))
            mask = _content(survey.mask_path(tile)) if split == "val" and survey.has_mask(tile) else None
            _add(scored, split, tile, shown, picture, mask)
            _add(unscored, split, tile, shown, picture, None)
    return scored.hexdigest()[:16], unscored.hexdigest()[:16]


def _add(digest: hashlib._Hash, *parts: object) -> None:
    # JSON keeps the borders between the parts: no two different surveys give one text.
    digest.update(json.dumps(parts).encode() + b"\n")


def _content(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"{path} is missing: put it there or take its tile from the splits.")
    return hashlib.sha256(path.read_bytes()).hexdigest()
