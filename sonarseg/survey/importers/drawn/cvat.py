"""CVAT for images 1.1: polygons, boxes and masks of all pictures in one XML file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from sonarseg.errors import UserError
from sonarseg.survey.importers.damaged import DAMAGED, reason
from sonarseg.survey.importers.drawn.areas import Area, Drawing, Outlines, Pixels, Shape, outline, rectangle
from sonarseg.survey.importers.drawn.run_lengths import pixels_of_runs
from sonarseg.survey.importers.foreign_names import quoted

_IN_ARCHIVE = "annotations.xml"
_AREAS = ("polygon", "box", "mask")
_OTHERS = ("polyline", "points", "cuboid", "ellipse", "skeleton")


def read_cvat(source: Path, problems: list[str]) -> Iterator[Drawing]:
    """Read annotations.xml, or its archive; z_order says what lies on top, among equals the order there."""
    root = _root(source)
    if root.tag != "annotations" or root.find("image") is None:
        raise UserError(f'{source} is no "CVAT for images 1.1" file: export the task in this format.')
    for image in root.iter("image"):
        name = image.get("name", "")
        try:
            place = f"{source} image {quoted(name)}"
            drawing = Drawing(place, (name,), (_whole(image, "height", place), _whole(image, "width", place)))
        except UserError as error:
            problems.append(str(error))
            continue
        found: list[tuple[int, Shape]] = []
        for number, element in enumerate((e for e in image if e.tag in _AREAS + _OTHERS), start=1):
            place = f"{source} image {quoted(name)} shape {number}"
            try:
                shape = Shape(_text(element, "label", place), _area(element, place), place)
                found.append((_whole(element, "z_order", place, "0"), shape))
            except UserError as error:
                problems.append(str(error))
        drawing.shapes.extend(shape for _, shape in sorted(found, key=lambda pair: pair[0]))
        yield drawing


def _root(source: Path) -> ElementTree.Element:
    if not source.is_file():
        raise UserError(f"{source} is not a file: name the .xml or .zip that CVAT exported.")
    try:
        if not zipfile.is_zipfile(source):
            return ElementTree.fromstring(source.read_bytes())
        with zipfile.ZipFile(source) as archive:
            if _IN_ARCHIVE not in archive.namelist():
                raise UserError(f'{source} holds no {_IN_ARCHIVE}: export the task as "CVAT for images 1.1".')
            return ElementTree.fromstring(archive.read(_IN_ARCHIVE))
    except DAMAGED as error:
        raise UserError(f"{source} is no XML ({reason(error)}): export it again.") from error


def _area(element: ElementTree.Element, place: str) -> Area:
    if element.tag == "polygon":
        pairs = [pair.split(",") for pair in _text(element, "points", place).split(";")]
        # Text of numbers passes as numbers there.
        return Outlines((outline(pairs, place),))  # type: ignore[arg-type]
    if element.tag == "box":
        left, top, right, bottom = (_number(element, key, place) for key in ("xtl", "ytl", "xbr", "ybr"))
        turned = _number(element, "rotation", place, "0")
        return Outlines((rectangle(left, top, right, bottom, place, turned=turned),))
    if element.tag == "mask":
        height, width = _whole(element, "height", place), _whole(element, "width", place)
        try:
            runs = [int(run) for run in _text(element, "rle", place).split(",")]
        except ValueError as error:
            raise UserError(f"{place}: its rle cannot be read ({error}): export it again.") from error
        pixels = pixels_of_runs(runs, height, width, place)
        return Pixels(pixels, _whole(element, "top", place), _whole(element, "left", place))
    raise UserError(f"{place} is a {element.tag}: draw areas as polygon, box or mask.")


def _text(element: ElementTree.Element, key: str, place: str) -> str:
    value = element.get(key)
    if value is None:
        raise UserError(f"{place} has no {key}: export it again.")
    return value


def _number(element: ElementTree.Element, key: str, place: str, usual: str | None = None) -> float:
    value = usual if usual is not None and element.get(key) is None else _text(element, key, place)
    try:
        return float(value)
    except ValueError as error:
        raise UserError(f'{place}: its {key} is "{value}", expected a number.') from error


def _whole(element: ElementTree.Element, key: str, place: str, usual: str | None = None) -> int:
    value = _number(element, key, place, usual)
    if not value.is_integer():
        raise UserError(f"{place}: its {key} is {value:g}, expected a whole number.")
    return int(value)
