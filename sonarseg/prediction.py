"""Pixel maps of a trained run: index masks, confidence, colour overlays and areas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sonarseg.class_colours import NO_DATA, OVERLAY_SHARE, colour_table
from sonarseg.class_legend import map_legend
from sonarseg.errors import UserError
from sonarseg.files.csv_cells import write_csv
from sonarseg.progress import Progress, silent
from sonarseg.survey import lists
from sonarseg.survey.formats.found import SUFFIX_WORDS, SUFFIXES
from sonarseg.survey.no_data import filled, read_valid, without_invalid
from sonarseg.survey.pictures import write_index_png, write_png
from sonarseg.survey.tile_names import tile_name
from sonarseg.training.checkpoint.model import Model
from sonarseg.training.data.tiles import to_tensor
from sonarseg.training.device import autocast

LEGEND = "legend.png"


def overlay(image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay class colours over a picture.

    Parameters
    ----------
    image : uint8 (H, W) or (H, W, 3)
    labels : uint8 (H, W)
        Class ids; 255 stays uncoloured.

    Returns
    -------
    uint8 (H, W, 3)
    """
    rgb = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    colours = colour_table().astype(np.float32)
    mixed = (1 - OVERLAY_SHARE) * rgb.astype(np.float32) + OVERLAY_SHARE * colours[labels]
    return np.where((labels == NO_DATA)[..., None], rgb, mixed.round().astype(np.uint8))


def find_pictures(*places: Path) -> dict[str, Path]:
    """Tile to picture: those of folders, found as in a survey, and files.

    Raises
    ------
    UserError
        If a place is missing or holds no picture, or two pictures have one name.
    """
    found: dict[str, Path] = {}
    for place in places:
        for tile, path in _pictures_at(place).items():
            other = found.setdefault(tile, path)
            if other.resolve() != path.resolve():
                raise UserError(
                    f"{other} and {path} would get maps of one name: rename one, or map them apart."
                )
    return found


def _pictures_at(place: Path) -> dict[str, Path]:
    if place.is_file():
        if place.suffix.lower() not in SUFFIXES:
            raise UserError(f"{place} is no {SUFFIX_WORDS} picture: name your tiles or their folder.")
        return {tile_name(place.name): place}
    if not place.is_dir():
        raise UserError(f"There is no file or folder {place}: name your tiles or their folder.")
    problems: list[str] = []
    found = lists.find_pictures(place, problems)
    if problems:
        raise UserError(problems[0])
    if not found:
        raise UserError(f"{place} holds no {SUFFIX_WORDS} picture: name the folder of your tiles.")
    return found


def predict_probabilities(model: Model, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Class probabilities float32 (K, H, W) of one scaled tile, uint8 (H, W) or (H, W, 3)."""
    batch = to_tensor(image, model.network_config.tile_scale)[None].to(model.device).float() / 255
    model.network.eval()
    with torch.inference_mode(), autocast(model.device):
        features = model.network.encode(model.normalisation(batch))
        logits = model.network.decode(features, (image.shape[0], image.shape[1]))
    probabilities: NDArray[np.float32] = logits.float().softmax(dim=1)[0].cpu().numpy()
    return probabilities


def refuse_unlike(model: Model, pictures: Iterable[Path]) -> None:
    """Refuse pictures that the model cannot map, by their headers: call it before anything is written.

    Raises
    ------
    UserError
        If a picture cannot be read, or has another depth than the model's tiles.
    """
    for path in pictures:
        model.scaling.refuse_other_depth(path)


def predict_pictures(
    model: Model,
    pictures: dict[str, Path],
    output: Path,
    progress: Progress = silent,
) -> Path:
    """Write masks/, confidence/, overlays/, legend.png and areas.csv for some tiles.

    Pixels without data are 255 in masks, 0 in confidence, and left out of areas.csv.

    Parameters
    ----------
    model : Model
        A trained run's model.
    pictures : dict
        Tile name to picture file.
    output : Path
        Folder to write to.
    progress : Progress
        Called a tile.

    Returns
    -------
    Path
        The table of areas: pixels of each class a tile, and their share of the pixels with data.

    Raises
    ------
    UserError
        If a picture has another depth than the model's tiles; nothing is written then.
    """
    refuse_unlike(model, pictures.values())
    folders = {name: output / name for name in ("masks", "confidence", "overlays")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    write_png(output / LEGEND, map_legend(model.classes))
    areas: list[Sequence[object]] = []
    for done, (name, path) in enumerate(pictures.items()):
        image = model.scaling.read(path)
        probabilities = predict_probabilities(model, image)
        valid = read_valid(path)
        labels = without_invalid(probabilities.argmax(axis=0).astype(np.uint8), valid)
        write_index_png(folders["masks"] / f"{name}.png", labels)
        confidence = (255 * probabilities.max(axis=0)).round().astype(np.uint8)
        write_png(folders["confidence"] / f"{name}.png", filled(confidence, valid))
        write_png(folders["overlays"] / f"{name}.png", overlay(image, labels))
        areas.append(_area_row(name, labels, len(model.classes)))
        progress("predicting", done + 1, len(pictures))
    return _write_areas(output / "areas.csv", model.classes, areas)


def _area_row(tile: str, labels: NDArray[np.uint8], class_count: int) -> list[object]:
    """Name, pixels and shares of each class; the pixels without data come last, if there are any."""
    counts = np.bincount(labels.ravel(), minlength=NO_DATA + 1)
    pixels = counts[:class_count]
    shares = [round(float(count) / max(1, int(pixels.sum())), 6) for count in pixels]
    without = [int(counts[NO_DATA])] if counts[NO_DATA] else []
    return [tile, *pixels.tolist(), *shares, *without]


def _write_areas(path: Path, classes: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """Write a row per tile: its name, the pixels and the share of each class, pixels without data if any.

    The last column is written only if some row has it; its title ends otherwise than those of the
    classes, which reports count.
    """
    titles = ["tile", *(f"{name} (pixels)" for name in classes), *(f"{name} (share)" for name in classes)]
    if all(len(row) == len(titles) for row in rows):
        return write_csv(path, [titles, *rows])
    filled_up = [row if len(row) > len(titles) else [*row, 0] for row in rows]
    return write_csv(path, [[*titles, "pixels without data"], *filled_up])
