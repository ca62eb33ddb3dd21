"""Picture rows of the report: tile, CAM, pseudo-labels, prediction and truth, chosen by rule."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from PIL import Image

from objectives.records import attributes as attr
from sonarseg.cam.files import read_cam
from sonarseg.densecrf.engines.base import DEFAULT_ENGINE, Engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.refine import refine
from sonarseg.files.whole import whole_folder
from sonarseg.metrics.confusion import confusion
from sonarseg.metrics.iou import miou
from sonarseg.survey.layout import Survey
from sonarseg.survey.pictures import read_mask_file, write_index_png, write_png
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.config import DEFAULT_CAM, CamConfig

UNTUNED = "w-s3Tseg"
# Tiles of the worst results, shown beside those chosen by gain
WORST = 3


def evenly_ranked(gains: Sequence[float], count: int) -> list[int]:
    """Indices of the best, the worst and evenly spaced gains between, best first.

    Parameters
    ----------
    gains : sequence of float
        One a tile; ties keep the tiles' order.
    count : int
        How many to choose at most.
    """
    ranked = np.argsort(-np.asarray(gains, dtype=float), kind="stable")
    positions = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    return [int(ranked[p]) for p in positions]


def chosen_tiles(survey: Survey, count: int = 3) -> list[str]:
    """Choose tiles by rule, the same for all trials: evenly spaced among those of several classes.

    Tiles of val that have a mask; where none shows several classes, evenly among all of them.
    """
    scored = [tile for tile in survey.splits["val"] if survey.has_mask(tile)]
    tiles = [tile for tile in scored if survey.multiclass(tile)] or scored
    places = np.linspace(0, len(tiles) - 1, min(count, len(tiles))).round().astype(int)
    return [tiles[place] for place in places]


def picture_engine(crf_study: optuna.Study | None) -> Engine:
    """What computes the dense CRF of pictures: the study's engine, numba without a study.

    In place of torch it is numba, whose labels are the same but for ties: the device is the study's.
    """
    if crf_study is not None and crf_study.user_attrs.get(attr.ENGINE) == "pydensecrf":
        return Engine("pydensecrf")
    return DEFAULT_ENGINE


def write_picture_rows(
    folder: Path,
    survey: Survey,
    cams_dir: Path,
    scaling: GreyScaling,
    settings: dict[str, CrfParameters],
    predictions_dir: Path | None,
    count: int = 3,
    engine: Engine = DEFAULT_ENGINE,
    cam: CamConfig = DEFAULT_CAM,
) -> None:
    """Write `folder/rows.json` and its pictures for tiles of `val`.

    Tiles are ranked by the gain in per-tile `miou` of the last setting over the first; best, median and
    worst are shown, the `WORST` tiles on which the result (the prediction, else the last setting) is
    worst, and those that the dashboard shows of every trial. Without masks the first tiles are shown.

    Parameters
    ----------
    folder : Path
        Replaced whole.
    survey : Survey
        Opened for `val` alone.
    cams_dir : Path
        Folder with `val/NAME.npy`.
    scaling : GreyScaling
        The survey-wide scaling to 0..255.
    settings : dict
        Title to dense CRF setting, in the order of the panels.
    predictions_dir : Path or None
        Folder of predicted masks of `val` (a run's `masks`).
    count : int
        Rows by gain.
    engine : Engine
        What computes the dense CRF.
    cam : CamConfig
        Of the run that made the CAMs: whether the background has a score of its own.
    """
    background = cam.constant_background(survey.background_id)
    scored = [tile for tile in survey.splits["val"] if survey.has_mask(tile)]
    tiles = [tile for tile in scored if survey.shown(tile).sum() > 1] or scored
    if not tiles:
        tiles = list(survey.splits["val"][:count] or survey.splits["train"][:count])
    tiles = [tile for tile in tiles if (cams_dir / "val" / f"{tile}.npy").is_file()]
    panels = {tile: _labels(survey, tile, cams_dir, scaling, settings, engine, background) for tile in tiles}
    truths = {tile: survey.read_mask(tile) for tile in tiles if tile in scored}
    titles = list(settings)
    gains = [
        _score(truths.get(t), panels[t][titles[-1]], survey)
        - _score(truths.get(t), panels[t][titles[0]], survey)
        for t in tiles
    ]
    chosen = evenly_ranked(gains, count) if truths else list(range(min(count, len(tiles))))
    worst = _worst_tiles(survey, scored, predictions_dir, truths, {t: panels[t][titles[-1]] for t in tiles})
    everywhere = [tile for tile in chosen_tiles(survey) if tile in tiles]
    shown = list(dict.fromkeys([*(tiles[i] for i in chosen), *worst, *everywhere]))
    with whole_folder(folder) as partial:
        rows = []
        for tile in shown:
            labels = panels.get(tile) or _labels(
                survey, tile, cams_dir, scaling, settings, engine, background
            )
            truth = survey.read_mask(tile) if tile in scored else None
            scores = read_cam(cams_dir / "val" / f"{tile}.npy")
            row = _write_row(partial, survey, tile, scaling, scores, labels, truth, predictions_dir)
            row |= _rank(gains, tiles.index(tile)) if truths and tile in tiles else {}
            place = worst.index(tile) + 1 if tile in worst else None
            rows.append(row | {"worst": place, "of_every_trial": tile in everywhere})
        content = {"classes": list(survey.classes), "rows": rows}
        (partial / "rows.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def _worst_tiles(
    survey: Survey,
    scored: Sequence[str],
    predictions_dir: Path | None,
    truths: dict[str, NDArray[np.uint8]],
    labels: dict[str, NDArray[np.uint8]],
) -> list[str]:
    """Tiles of the smallest miou, the worst first: of predictions where there are any, else pseudo-labels."""
    found = {
        tile: _score(survey.read_mask(tile), read_mask_file(predictions_dir / f"{tile}.png"), survey)
        for tile in scored
        if predictions_dir is not None and (predictions_dir / f"{tile}.png").is_file()
    }
    found = found or {tile: _score(truth, labels[tile], survey) for tile, truth in truths.items()}
    return sorted(found, key=lambda tile: found[tile])[:WORST]


def _rank(gains: Sequence[float], index: int) -> dict[str, Any]:
    """Place of a tile among all by its gain, 0 the best."""
    order = [int(i) for i in np.argsort(-np.asarray(gains, dtype=float), kind="stable")]
    return {"rank": order.index(index), "of": len(order), "gain": float(gains[index])}


def _labels(
    survey: Survey,
    tile: str,
    cams_dir: Path,
    scaling: GreyScaling,
    settings: dict[str, CrfParameters],
    engine: Engine,
    background_id: int | None,
) -> dict[str, NDArray[np.uint8]]:
    scores = read_cam(cams_dir / "val" / f"{tile}.npy")
    image = scaling.read(survey.image_path(tile))
    shown, valid = survey.shown(tile), survey.read_valid(tile)
    return {
        title: refine(
            scores,
            image,
            parameters,
            shown=shown,
            valid=valid,
            background_id=background_id,
            engine=engine,
        )
        for title, parameters in settings.items()
    }


def _score(truth: NDArray[np.uint8] | None, labels: NDArray[np.uint8], survey: Survey) -> float:
    value = None if truth is None else miou(confusion(truth, labels, survey.num_classes)[None])
    return 0.0 if value is None else value


def _write_row(
    folder: Path,
    survey: Survey,
    tile: str,
    scaling: GreyScaling,
    scores: NDArray[np.float32],
    labels: dict[str, NDArray[np.uint8]],
    truth: NDArray[np.uint8] | None,
    predictions_dir: Path | None,
) -> dict[str, Any]:
    number = len(list(folder.glob("*-0.png")))
    pictures = dict(labels)
    predicted = None if predictions_dir is None else predictions_dir / f"{tile}.png"
    if predicted is not None and predicted.is_file():
        pictures["prediction"] = read_mask_file(predicted)
    if truth is not None:
        pictures["truth"] = truth
    panels: list[dict[str, Any]] = [{"title": "tile", "file": f"{number}-0.png", "miou": None}]
    write_png(folder / f"{number}-0.png", scaling.read(survey.image_path(tile)))
    panels.append({"title": "CAM", "file": f"{number}-1.png", "miou": None, "kind": "activation"})
    _write_activation(folder / f"{number}-1.png", scores)
    for position, (title, picture) in enumerate(pictures.items(), start=2):
        name = f"{number}-{position}.png"
        write_index_png(folder / name, picture)
        score = None if truth is None or title == "truth" else _score(truth, picture, survey)
        panels.append({"title": title, "file": name, "miou": score})
    return {"tile": tile, "split": "val", "panels": panels}


def _write_activation(path: Path, scores: NDArray[np.float32]) -> None:
    """Write the strongest class of each pixel and, as the alpha channel, how strongly it is activated.

    Parameters
    ----------
    path : Path
    scores : float32 (K, H, W) in 0..1
    """
    strength = np.rint(scores.max(axis=0).clip(0, 1) * 255).astype(np.uint8)
    strongest = scores.argmax(axis=0).astype(np.uint8)
    Image.fromarray(np.dstack([strongest, strength])).save(path)
