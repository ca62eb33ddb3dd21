"""Label Studio: its JSON export, with polygons, rectangles and brushes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sonarseg.errors import UserError
from sonarseg.survey.importers.drawn.areas import Area, Drawing, Outlines, Pixels, Shape, outline, rectangle
from sonarseg.survey.importers.drawn.fields import field, read_any_json
from sonarseg.survey.importers.drawn.run_lengths import brush_pixels
from sonarseg.survey.importers.foreign_names import quoted

# Fields of a region on the picture: texts, choices and relations have none of them.
_GEOMETRY = {"points", "rle", "width", "height", "radiusX"}
# What Label Studio puts before the name of an uploaded file
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
_WHOLE = 100.0


def read_label_studio(source: Path, problems: list[str]) -> Iterator[Drawing]:
    """Read a JSON export; a later region of an annotation lies on the earlier ones."""
    tasks = read_any_json(source)
    if not isinstance(tasks, list) or not all(isinstance(t, dict) and "annotations" in t for t in tasks):
        raise UserError(
            f'{source} is no JSON export of Label Studio (a list of tasks with "annotations"): export it as '
            "JSON, not as JSON-MIN."
        )
    for number, task in enumerate(tasks, start=1):
        place = f"{source} task {quoted(str(task.get('id', number)))}"
        try:
            yield _drawing(task, place, problems)
        except UserError as error:
            problems.append(str(error))


def _drawing(task: dict[str, Any], place: str, problems: list[str]) -> Drawing:
    names = [name for value in field(task, "data", dict, place).values() for name in _names(value)]
    done = [
        annotation
        for annotation in field(task, "annotations", list, place)
        if isinstance(annotation, dict) and not annotation.get("was_cancelled")
    ]
    if len(done) > 1:
        raise UserError(f"{place} has {len(done)} annotations: keep one, as nobody can tell which is right.")
    size: tuple[int, int] | None = None
    shapes = []
    results = field(done[0], "result", list, place) if done else []
    # With <Labels> apart from the shapes, each region is there twice: without its class, and with it.
    labelled = {repr(result.get("id")) for result in results if isinstance(result, dict) and _labels(result)}
    for number, result in enumerate(results, start=1):
        where = f"{place} region {number}"
        try:
            if not _is_region(result) or (not _labels(result) and repr(result.get("id")) in labelled):
                continue
            size = (field(result, "original_height", int, where), field(result, "original_width", int, where))
            shapes.append(Shape(_label(result, where), _area(result, size, where), where))
        except UserError as error:
            problems.append(str(error))
    return Drawing(place, tuple(names), size, shapes)


def _names(value: object) -> list[str]:
    """Names that the picture of a task may have, from its address."""
    if not isinstance(value, str):
        return []
    parts = urlsplit(value)
    path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    bare = re.split(r"[/\\]", path)[-1]
    return list(dict.fromkeys((bare, _UPLOADED.sub("", bare))))


def _is_region(result: Any) -> bool:
    """Whether a result is a region of the picture."""
    value = result.get("value") if isinstance(result, dict) else None
    return isinstance(value, dict) and bool(_GEOMETRY & value.keys())


def _labels(result: dict[str, Any]) -> list[Any]:
    """Classes of a region."""
    value = result.get("value")
    for key, labels in value.items() if isinstance(value, dict) else ():
        if key.endswith("labels") and isinstance(labels, list) and labels:
            return labels
    return []


def _label(result: dict[str, Any], place: str) -> str:
    labels = _labels(result)
    if len(labels) != 1 or not isinstance(labels[0], str):
        raise UserError(f"{place} has {len(labels)} classes: give it one.")
    return labels[0]


def _area(result: dict[str, Any], size: tuple[int, int], place: str) -> Area:
    if result.get("image_rotation"):
        raise UserError(
            f"{place}: its picture was turned by {result['image_rotation']} degrees: turn it back."
        )
    value = field(result, "value", dict, place)
    height, width = size
    scale = (width / _WHOLE, height / _WHOLE)
    if "rle" in value:
        return Pixels(brush_pixels(field(value, "rle", list, place), height, width, place))
    if "points" in value:
        ring = outline(field(value, "points", list, place), place)
        return Outlines((ring * scale,))
    if "width" in value and "height" in value:
        left, top = field(value, "x", float, place) * scale[0], field(value, "y", float, place) * scale[1]
        right = left + field(value, "width", float, place) * scale[0]
        bottom = top + field(value, "height", float, place) * scale[1]
        turned = field(value, "rotation", float, place) if value.get("rotation") is not None else 0.0
        return Outlines((rectangle(left, top, right, bottom, place, turned=turned, around="corner"),))
    kind = quoted(str(result.get("type")))
    raise UserError(f"{place} is of the type {kind}: draw areas as polygon, rectangle or brush.")
