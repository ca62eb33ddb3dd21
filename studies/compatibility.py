"""What a study database was made for, and whether it still fits the survey and study.toml."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from objectives.records import attributes as attr
from objectives.records.study import KINDS, REQUIRED, Direction, StudyKind
from sonarseg.errors import UserError
from sonarseg.survey.checks.scored_classes import mask_pixels, unscored_classes
from sonarseg.survey.layout import Survey
from studies.config import StudyConfig

PACKAGES = ("sonarseg", "optuna", "torch", "torchvision", "pydensecrf2", "numpy", "scikit-learn")
# Fields that may change while a study goes on: its name, where things are, how much is done.
FREE = {
    "name",
    "survey",
    "device",
    "cam.trials",
    "cam.sampler",
    "cam.patience",
    "cam.seeds",
    "crf.trials",
    "crf.sampler",
    "crf.patience",
    "crf.engine",
    "crf.race",
    "loss.trials",
    "loss.sampler",
    "loss.patience",
    "loss.runs_per_device",
    "loss.seeds",
    "loss.prune",
}


def val_tiles(survey: Survey) -> tuple[str, ...]:
    """Tiles of `val` that have a mask, in the order of the split; none if no mask holds a pixel with data."""
    tiles = tuple(tile for tile in survey.splits["val"] if survey.has_mask(tile))
    return tiles if any(mask_pixels(survey, tile).any() for tile in tiles) else ()


def describe(survey: Survey, config: StudyConfig) -> dict[StudyKind, dict[str, Any]]:
    """User attributes of the studies; of masks, only those of `val` are opened."""
    tiles = val_tiles(survey)
    counts = [mask_pixels(survey, tile) for tile in tiles]
    several = sum(int((pixels > 0).sum() >= 2) for pixels in counts)
    seen = np.sum(counts, axis=0) if counts else np.zeros(survey.num_classes, dtype=np.int64)
    shared: dict[str, Any] = {
        **_metric(config, len(tiles), several),
        attr.SURVEY: {
            "name": survey.name,
            "fingerprint": survey.fingerprint,
            "classes": list(survey.classes),
            "background": survey.background,
            "tiles": {split: len(names) for split, names in survey.splits.items()},
            "multiclass": {
                "train": sum(survey.multiclass(tile) for tile in survey.splits["train"]),
                "val": several,
            },
        },
        attr.UNSCORED: list(unscored_classes(survey, "val", seen)),
        attr.TILES: list(tiles),
        attr.GROUPS: [survey.groups.get(tile) for tile in tiles],
        attr.VERSIONS: _versions(),
        attr.SEED: config.seed,
        attr.DEVICE: config.device,
        attr.CONFIG: config.model_dump(mode="json"),
        attr.CREATED: datetime.now(UTC).isoformat(timespec="seconds"),
        attr.TEST_OPENINGS: [],
    }
    if not tiles:
        masked = any(survey.has_mask(tile) for tile in survey.splits["val"])
        lacks = "no pixel with data in the masks of" if masked else "no masks for"
        if not survey.splits["val"]:
            lacks = "no tile in"
        shared[attr.UNTUNED] = (
            f"the survey {survey.name} has {lacks} its val split, so no setting could be scored: "
            "the published settings of w-s3Tseg were used."
        )
    wanted = KINDS if config.cam.trials else REQUIRED
    return {kind: {attr.KIND: kind, **shared} for kind in wanted}


def directions_of(config: StudyConfig) -> dict[StudyKind, tuple[Direction, ...]]:
    """Directions of studies that have several objectives: quality up, seconds a tile down."""
    return {"crf": ("maximize", "minimize")} if config.crf.weigh_seconds else {}


def _metric(config: StudyConfig, tiles: int, several: int) -> dict[str, str]:
    if config.metric == "miou" or several or not tiles:
        return {attr.METRIC: config.metric}
    return {
        attr.METRIC: "miou",
        attr.METRIC_NOTE: "miou is used in place of miou_multiclass: no val tile shows two or more classes.",
    }


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def check_compatible(study: optuna.Study, survey: Survey, config: StudyConfig, workspace: str) -> None:
    """Refuse to mix trials that cannot be compared.

    Raises
    ------
    UserError
        Where the survey, the settings or Optuna itself have changed since the study began.
    """
    before = study.user_attrs
    changed = _first_change(before, survey, config)
    if changed is not None:
        raise UserError(
            f"{changed} since the study in {workspace} began, and its trials could not be compared with new "
            f"ones: put it back, or begin a study of another name with `{_beside(Path(workspace))}`."
        )


def _beside(workspace: Path) -> str:
    """The commands that begin a study beside another one, where relative paths stay right, from its best."""
    if not workspace.name:
        # The current folder
        workspace = Path("..", workspace.resolve().name)
    number = next(n for n in count(2) if not workspace.with_name(f"{workspace.name}-{n}").exists())
    other = workspace.with_name(f"{workspace.name}-{number}")
    old, new = shlex.quote(str(workspace)), shlex.quote(str(other))
    return f"mkdir {new} && cp {old}/study.toml {new} && sonarseg tune all {new} --from {old}"


def _first_change(before: Mapping[str, Any], survey: Survey, config: StudyConfig) -> str | None:
    if before[attr.SURVEY]["classes"] != list(survey.classes):
        return (
            f"the class list changed from {', '.join(before[attr.SURVEY]['classes'])} "
            f"to {', '.join(survey.classes)}"
        )
    old, new = comparable_settings(before[attr.CONFIG]), comparable_settings(config.model_dump(mode="json"))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            return f"{name} in study.toml changed from {_shown(old.get(name))} to {_shown(new.get(name))}"
    if before[attr.SURVEY]["fingerprint"] != survey.fingerprint:
        return f"the survey {survey.root} changed (images, labels, splits or val masks)"
    if before[attr.VERSIONS]["optuna"].split(".")[0] != version("optuna").split(".")[0]:
        return f"Optuna changed from {before[attr.VERSIONS]['optuna']} to {version('optuna')}"
    return None


def comparable_settings(noted: Mapping[str, Any], section: str = "") -> dict[str, Any]:
    """Settings by dotted name, without those that may change while a study goes on.

    A study begun by an earlier version, without fields of today, had their defaults.

    Parameters
    ----------
    noted : mapping
        The settings that a study notes.
    section : str
        Only this field or section; empty takes all.
    """
    defaults = StudyConfig(name="-", survey="-").model_dump(mode="json")
    values = _flat(defaults) | _flat(noted)
    return {
        name: value
        for name, value in values.items()
        if name not in FREE and (not section or name == section or name.startswith(f"{section}."))
    }


def _flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in section.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
