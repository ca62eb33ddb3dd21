"""One hash for what a study stands on: images, labels, splits and val masks, never train or test masks."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sonarseg.survey.layout import Survey


def survey_fingerprint(survey: Survey) -> str:
    """Hash the content that can change a study's results.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for text in (*survey.classes, f"background {survey.background}"):
        digest.update(f"{text}\n".encode())
    for split in ("train", "val", "test"):
        for tile in survey.splits[split]:
            label = survey.labels.get(tile)
            shown = "" if label is None else "".join(str(int(v)) for v in label)
            digest.update(f"{split} {tile} {shown}\n".encode())
            _add_file(digest, survey.image_path(tile))
            if split == "val" and survey.has_mask(tile):
                _add_file(digest, survey.mask_path(tile))
    return digest.hexdigest()[:16]


def _add_file(digest: hashlib._Hash, path: Path) -> None:
    digest.update(hashlib.sha256(path.read_bytes()).digest())
