"""Masks from files of labelme, CVAT, COCO tools and Label Studio."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sonarseg.errors import UserError
from sonarseg.survey.importers.drawn.masks import READERS, read_drawn, write_drawn
from sonarseg.survey.pictures import read_mask_file, write_png
from tests.support.drawn_files import (
    WRITERS,
    cvat_file,
    cvat_image,
    label_studio_result,
    label_studio_task,
    labelme_file,
    labelme_shape,
    packed_brush,
)

CLASSES = ("Sand", "Rock & weed", "Ripples")
SIZE = (12, 17)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    survey = tmp_path / "survey"
    (survey / "images").mkdir(parents=True)
    for tile in ("a1", "a2", "b 1"):
        write_png(survey / "images" / f"{tile}.png", np.full(SIZE, 90, dtype=np.uint8))
    (survey / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return survey


def painted(root: Path, source: Path, program: str, tile: str = "a1", **options: Any) -> NDArray[np.uint8]:
    write_drawn(root, read_drawn(source, root, program, **options))
    return read_mask_file(root / "masks" / f"{tile}.png")


@pytest.mark.parametrize("program", READERS)
def test_masks_go_out_and_come_back(root: Path, tmp_path: Path, program: str) -> None:
    rng = np.random.default_rng(3)
    masks = {
        tile: rng.choice(np.array([0, 1, 2, 255], dtype=np.uint8), SIZE, p=p)
        for tile, p in {"a1": (0.3, 0.3, 0.3, 0.1), "b 1": (0.9, 0, 0.1, 0)}.items()
    }
    drawn = read_drawn(WRITERS[program](tmp_path / "drawn", masks, CLASSES), root, program)
    assert drawn.problems == ()
    counts = write_drawn(root, drawn)
    for tile, mask in masks.items():
        np.testing.assert_array_equal(read_mask_file(root / "masks" / f"{tile}.png"), mask)
    assert counts["no data"] == sum(int((mask == 255).sum()) for mask in masks.values())
    assert sorted(path.name for path in (root / "masks").iterdir()) == ["a1.png", "b 1.png"]


def save(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def expected(*parts: tuple[int, int, int, int, int], rest: int = 255) -> NDArray[np.uint8]:
    """A mask of rectangles: top, bottom, left, right, class id."""
    mask = np.full(SIZE, rest, dtype=np.uint8)
    for top, bottom, left, right, index in parts:
        mask[top:bottom, left:right] = index
    return mask


def test_labelme_shapes(root: Path, tmp_path: Path) -> None:
    shapes = [
        labelme_shape("sand", [[0, 0], [10, 0], [10, 8], [0, 8]], "polygon"),
        labelme_shape("ROCK & WEED", [[12.0, 9.0], [4.0, 3.0]], "rectangle"),
        labelme_shape("no data", [[15, 2], [15, 3.2]], "circle"),
    ]
    source = save(tmp_path / "a1.json", labelme_file("a1.png", SIZE, shapes))
    mask = expected((0, 8, 0, 10, 0), (3, 9, 4, 12, 1), rest=2)
    mask[1:3, 14:16] = 255
    np.testing.assert_array_equal(painted(root, source, "labelme", rest="Ripples"), mask)


def test_cvat_shapes_and_their_order(root: Path, tmp_path: Path) -> None:
    shapes = (
        '<box label="Ripples" source="manual" occluded="0" xtl="4.00" ytl="3.00" xbr="12.00" ybr="9.00" '
        'z_order="2"><attribute name="sure">yes</attribute></box>'
        '<polygon label="Sand" source="manual" occluded="0" '
        'points="0.00,0.00;10.00,0.00;10.00,8.00;0.00,8.00" z_order="0"></polygon>'
        '<mask label="Rock &amp; weed" source="manual" occluded="0" rle="1, 2, 1, 2" left="9" top="4" '
        'width="3" height="2" z_order="1"></mask><tag label="Sand" source="manual"></tag>'
    )
    text = cvat_file([cvat_image(0, "deep/a1.jpg", SIZE, shapes), cvat_image(1, "a2.jpg", SIZE, "")])
    with zipfile.ZipFile(tmp_path / "task.zip", "w") as archive:
        archive.writestr("annotations.xml", text)
    mask = expected((0, 8, 0, 10, 0), (4, 5, 10, 12, 1), (5, 6, 10, 12, 1), (3, 9, 4, 12, 2))
    np.testing.assert_array_equal(painted(root, tmp_path / "task.zip", "cvat"), mask)
    assert read_drawn(tmp_path / "task.zip", root, "cvat", overwrite=True).empty == ("a2",)


def coco(annotations: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "info": {},
        "images": [{"id": 7, "width": SIZE[1], "height": SIZE[0], "file_name": "train/a1.tif"}],
        "categories": [{"id": 3, "name": "Sand"}, {"id": 4, "name": "Ripples"}],
        "annotations": annotations,
    }


def test_coco_polygons_lie_on_crowds(root: Path, tmp_path: Path) -> None:
    whole = SIZE[0] * SIZE[1]
    annotations = [
        {
            "id": 1,
            "image_id": 7,
            "category_id": 3,
            "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4], [6, 0, 9, 0, 9, 3, 6, 3]],
            "iscrowd": 0,
        },
        {
            "id": 2,
            "image_id": 7,
            "category_id": 4,
            "segmentation": {"counts": [0, whole], "size": [*SIZE]},
            "iscrowd": 1,
        },
    ]
    mask = expected((0, 4, 0, 4, 0), (0, 3, 6, 9, 0), rest=2)
    np.testing.assert_array_equal(painted(root, save(tmp_path / "c.json", coco(annotations)), "coco"), mask)


def test_label_studio_regions(root: Path, tmp_path: Path) -> None:
    high, wide = 100 / SIZE[0], 100 / SIZE[1]
    box = {"x": 4 * wide, "y": 3 * high, "width": 8 * wide, "height": 6 * high, "rotation": 0}
    ring = {"points": [[0, 0], [10 * wide, 0], [10 * wide, 8 * high], [0, 8 * high]], "closed": True}
    brush = np.zeros(SIZE, dtype=bool)
    brush[11, 3:] = True
    apart = label_studio_result("polygon", "Sand", SIZE, ring)
    without = {**apart, "type": "polygon", "value": ring}
    with_class = {**apart, "type": "labels", "value": {**ring, "labels": ["Sand"]}}
    results = [
        without,
        with_class,
        label_studio_result("rectangle", "Ripples", SIZE, box),
        label_studio_result("brush", "Rock & weed", SIZE, {"format": "rle", "rle": packed_brush(brush)}),
        {"type": "choices", "from_name": "c", "to_name": "image", "value": {"choices": ["fine"]}},
    ]
    task = label_studio_task(1, "/data/local-files/?d=out/images/b%201.png", results)
    task["annotations"].insert(0, {"id": 9, "was_cancelled": True, "result": []})
    mask = expected((0, 8, 0, 10, 0), (3, 9, 4, 12, 2), (11, 12, 3, 17, 1))
    np.testing.assert_array_equal(
        painted(root, save(tmp_path / "l.json", [task]), "label-studio", "b 1"), mask
    )


def labelme(shape: dict[str, Any], size: tuple[int, int] = SIZE) -> Callable[[Path], Path]:
    return lambda folder: save(folder / "a1.json", labelme_file("a1.png", size, [shape]))


SQUARE = [[0, 0], [4, 0], [4, 4]]
ONE = {"id": 5, "image_id": 7, "category_id": 3, "iscrowd": 0}


def two_annotations(folder: Path) -> Path:
    task = label_studio_task(1, "a1.png", [])
    task["annotations"] *= 2
    return save(folder / "l.json", [task])


def region(**changes: Any) -> Callable[[Path], Path]:
    result = label_studio_result("polygon", "Sand", SIZE, {"points": SQUARE}) | changes
    return lambda folder: save(folder / "l.json", [label_studio_task(1, "a1.png", [result])])


def xml(shapes: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "c.xml").write_text(cvat_file([cvat_image(0, "a1.png", SIZE, shapes)]))
        return folder / "c.xml"

    return write


def text(content: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "any").write_text(content)
        return folder / "any"

    return write


def damaged_archive(folder: Path) -> Path:
    path = folder / "c.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", cvat_file([]) * 9)
    content = bytearray(path.read_bytes())
    content[50:80] = bytes(30)
    path.write_bytes(content)
    return path


BAD: dict[str, tuple[str, Callable[[Path], Path], str]] = {
    "line": (
        "labelme",
        labelme(labelme_shape("Sand", SQUARE, "line")),
        "a1.json shape 1 is a line, not an area",
    ),
    "unknown class": ("labelme", labelme(labelme_shape("Snad", SQUARE, "polygon")), 'found the class "Snad"'),
    "other size": (
        "labelme",
        labelme(labelme_shape("Sand", SQUARE, "polygon"), (5, 6)),
        "is 6 x 5 pixels, but",
    ),
    "two points": ("labelme", labelme(labelme_shape("Sand", SQUARE[:2], "polygon")), "has 2 points"),
    "circle of 3": ("labelme", labelme(labelme_shape("Sand", SQUARE, "circle")), "has two points"),
    "no mask": ("labelme", labelme(labelme_shape("Sand", SQUARE[:2], "mask")), '"mask" is nothing'),
    "no json": ("labelme", text("{"), "is no JSON"),
    "other json": ("labelme", text("[]"), '"shapes" is nothing, expected a list'),
    "missing": ("coco", lambda folder: folder / "none.json", "is not a file"),
    "other tiles": (
        "labelme",
        lambda folder: save(
            folder / "q.json", labelme_file("q.png", SIZE, [labelme_shape("Sand", SQUARE, "polygon")])
        ),
        '"q.png", say, is no picture of the survey',
    ),
    "nothing drawn": (
        "labelme",
        lambda folder: save(folder / "a1.json", labelme_file("", SIZE, [])),
        "no area",
    ),
    "no xml": ("cvat", text("<annotations>"), "is no XML"),
    "CVAT for video": ("cvat", text("<annotations><track/></annotations>"), 'is no "CVAT for images 1.1"'),
    "polyline": ("cvat", xml('<polyline label="Sand" points="1,1;2,2" z_order="0"/>'), "is a polyline"),
    "unknown encoding": ("cvat", text('<?xml version="1.0" encoding="x"?><annotations/>'), "is no XML"),
    "damaged archive": ("cvat", damaged_archive, "is no XML"),
    "far away": ("labelme", labelme(labelme_shape("Sand", [[0, 0], [1e300, 0]], "circle")), "pixels away"),
    "a turn that is none": (
        "label-studio",
        region(value={"x": 1, "y": 1, "width": 2, "height": 2, "rotation": "x", "polygonlabels": ["Sand"]}),
        '"rotation" is "x", expected a number',
    ),
    "an id that is none": ("label-studio", region(id={}, value={"points": SQUARE}), "has 0 classes"),
    "bad runs": (
        "cvat",
        xml('<mask label="Sand" rle="3, 9" left="0" top="0" width="2" height="2" z_order="0"/>'),
        "its runs have 12 pixels, expected 4",
    ),
    "box alone": (
        "coco",
        lambda folder: save(folder / "c.json", coco([{**ONE, "bbox": [0, 0, 3, 3]}])),
        "annotation 5 has no segmentation",
    ),
    "no category": (
        "coco",
        lambda folder: save(folder / "c.json", coco([{**ONE, "category_id": 99, "segmentation": [[0] * 6]}])),
        "its category_id is none of the file",
    ),
    "two annotations": ("label-studio", two_annotations, "task 1 has 2 annotations: keep one"),
    "JSON-MIN": ("label-studio", text('[{"image": "a1.png", "label": []}]'), "not as JSON-MIN"),
    "turned": ("label-studio", region(image_rotation=90), "was turned by 90 degrees"),
    "no class": ("label-studio", region(value={"points": SQUARE}), "has 0 classes"),
    "ellipse": (
        "label-studio",
        region(
            type="ellipselabels",
            value={"x": 1, "y": 1, "radiusX": 2, "radiusY": 2, "ellipselabels": ["Sand"]},
        ),
        "is of the type ellipselabels",
    ),
    "short brush": (
        "label-studio",
        region(value={"format": "rle", "rle": [0, 0, 3, 48, 1], "brushlabels": ["Sand"]}),
        "its brush ends too early",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_does_not_fit_is_one_sentence(root: Path, tmp_path: Path, fault: str) -> None:
    program, make, words = BAD[fault]
    source = make(tmp_path)
    with pytest.raises(UserError) as refused:
        write_drawn(root, read_drawn(source, root, program))
    sentence = str(refused.value)
    assert words in sentence
    assert sentence.startswith(str(source))
    assert "\n" not in sentence
    assert not (root / "masks").exists()


def test_masks_are_not_replaced_unless_that_is_said(root: Path, tmp_path: Path) -> None:
    source = labelme(labelme_shape("Sand", SQUARE, "polygon"))(tmp_path)
    (root / "masks").mkdir()
    write_png(root / "masks" / "a1.tif", np.zeros(SIZE, dtype=np.uint8))
    drawn = read_drawn(source, root, "labelme")
    assert "a1.tif exists and is not overwritten" in drawn.problems[0]
    painted(root, source, "labelme", overwrite=True)
    assert [path.name for path in (root / "masks").iterdir()] == ["a1.png"]


def test_two_files_for_one_tile(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "drawn"
    folder.mkdir()
    for name in ("a1", "copy"):
        shapes = [labelme_shape("Sand", SQUARE, "polygon")]
        save(folder / f"{name}.json", labelme_file("a1.png", SIZE, shapes))
    assert "a1.json is the tile a1 already: keep one" in read_drawn(folder, root, "labelme").problems[0]


def test_a_wrong_class_for_the_rest(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='--rest "Mud" is not in'):
        read_drawn(tmp_path, root, "labelme", rest="Mud")
