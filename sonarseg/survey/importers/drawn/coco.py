"""COCO object detection files: polygons and run-length encoded pixels of all pictures in one JSON file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sonarseg.errors import UserError
from sonarseg.survey.importers.drawn.areas import Area, Drawing, Outlines, Pixels, Shape, outline
from sonarseg.survey.importers.drawn.fields import field, read_any_json
from sonarseg.survey.importers.drawn.run_lengths import coco_runs, pixels_of_runs
from sonarseg.survey.importers.foreign_names import quoted


def read_coco(source: Path, problems: list[str]) -> Iterator[Drawing]:
    """Read a COCO file; crowds lie under all other areas, and a later annotation on the earlier ones."""
    content = read_any_json(source)
    images = field(content, "images", list, str(source))
    annotations = field(content, "annotations", list, str(source))
    names = {
        field(entry, "id", int, f"{source} categories"): field(entry, "name", str, f"{source} categories")
        for entry in field(content, "categories", list, str(source))
    }
    drawings: dict[int, Drawing] = {}
    for image in images:
        name = field(image, "file_name", str, f"{source} images")
        place = f"{source} image {quoted(name)}"
        size = (field(image, "height", int, place), field(image, "width", int, place))
        drawings[field(image, "id", int, place)] = Drawing(place, (name,), size)
    for annotation in sorted(annotations, key=_lies_on_top):
        place = f"{source} annotation {annotation.get('id') if isinstance(annotation, dict) else annotation}"
        try:
            drawing = drawings.get(field(annotation, "image_id", int, place))
            label = names.get(field(annotation, "category_id", int, place))
            if drawing is None or label is None:
                missing = "image" if drawing is None else "category"
                raise UserError(f"{place}: its {missing}_id is none of the file: export it again.")
            drawing.shapes.append(Shape(label, _area(annotation, drawing, place), place))
        except UserError as error:
            problems.append(str(error))
    yield from drawings.values()


def _lies_on_top(annotation: Any) -> bool:
    return not (isinstance(annotation, dict) and annotation.get("iscrowd"))


def _area(annotation: dict[str, Any], drawing: Drawing, place: str) -> Area:
    segmentation = annotation.get("segmentation")
    if (
        isinstance(segmentation, list)
        and segmentation
        and all(isinstance(ring, list) for ring in segmentation)
    ):
        return Outlines(
            tuple(outline(zip(ring[::2], ring[1::2], strict=False), place) for ring in segmentation)
        )
    if not isinstance(segmentation, dict):
        raise UserError(f"{place} has no segmentation: a box alone does not say which pixels are meant.")
    counts, size = segmentation.get("counts"), segmentation.get("size")
    if size != [*(drawing.size or ())]:
        raise UserError(f"{place}: the size of its segmentation is {size}, its image has {drawing.size}.")
    if isinstance(counts, str):
        counts = coco_runs(counts, place)
    if not isinstance(counts, list) or not all(isinstance(run, int) for run in counts):
        raise UserError(
            f'{place}: its "counts" are neither a list of whole numbers nor text: export it again.'
        )
    return Pixels(pixels_of_runs(counts, size[0], size[1], place, by_columns=True))
