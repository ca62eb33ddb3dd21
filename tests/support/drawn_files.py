"""Masks as labelme, CVAT, COCO tools and Label Studio write them, after the documents of their formats."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Masks = Mapping[str, NDArray[np.uint8]]
NO_DATA = 255


def _layers(mask: NDArray[np.uint8], classes: Sequence[str]) -> list[tuple[str, NDArray[np.bool_]]]:
    return [(name, mask == index) for index, name in enumerate(classes) if (mask == index).any()]


def _runs(flat: NDArray[np.bool_]) -> list[int]:
    """Lengths of equal values in turn, the first of False."""
    runs = [len(list(group)) for _, group in groupby(flat.tolist())]
    return [0, *runs] if flat[0] else runs


def write_labelme(folder: Path, masks: Masks, classes: Sequence[str]) -> Path:
    folder.mkdir()
    for tile, mask in masks.items():
        shapes = []
        for name, layer in _layers(mask, classes):
            rows, columns = np.nonzero(layer)
            top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
            buffer = io.BytesIO()
            Image.fromarray(layer[top : bottom + 1, left : right + 1]).save(buffer, format="PNG")
            points = [[float(left), float(top)], [float(right), float(bottom)]]
            shapes.append(
                labelme_shape(name, points, "mask") | {"mask": base64.b64encode(buffer.getvalue()).decode()}
            )
        (folder / f"{tile}.json").write_text(
            json.dumps(labelme_file(f"..\\images\\{tile}.png", mask.shape, shapes))
        )
    return folder


def labelme_shape(label: str, points: list[list[float]], kind: str) -> dict[str, Any]:
    return {
        "label": label,
        "points": points,
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
    }


def labelme_file(image: str, size: tuple[int, ...], shapes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": image,
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }


def write_cvat(path: Path, masks: Masks, classes: Sequence[str]) -> Path:
    images = []
    for number, (tile, mask) in enumerate(masks.items()):
        shapes = "".join(
            f'    <mask label={quoteattr(name)} source="manual" occluded="0" '
            f'rle="{", ".join(map(str, _runs(layer.ravel())))}" left="0" top="0" '
            f'width="{mask.shape[1]}" height="{mask.shape[0]}" z_order="0">\n    </mask>\n'
            for name, layer in _layers(mask, classes)
        )
        images.append(cvat_image(number, f"survey/{tile}.png", mask.shape, shapes))
    path.write_text(cvat_file(images), encoding="utf-8")
    return path


def cvat_image(number: int, name: str, size: tuple[int, ...], shapes: str) -> str:
    size_of_it = f'width="{size[1]}" height="{size[0]}"'
    return f'  <image id="{number}" name={quoteattr(name)} {size_of_it}>\n{shapes}  </image>\n'


def cvat_file(images: Sequence[str]) -> str:
    meta = "<meta><task><name>t</name><mode>annotation</mode></task></meta>"
    head = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
    return f"{head}  {meta}\n{''.join(images)}</annotations>\n"


def write_coco(path: Path, masks: Masks, classes: Sequence[str]) -> Path:
    content: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
    content["categories"] = [{"id": index + 1, "name": name} for index, name in enumerate(classes)]
    for number, (tile, mask) in enumerate(masks.items(), start=10):
        height, width = mask.shape
        content["images"].append({"id": number, "width": width, "height": height, "file_name": f"{tile}.png"})
        for name, layer in _layers(mask, classes):
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": number,
                    "category_id": classes.index(name) + 1,
                    "iscrowd": 1,
                    "segmentation": {"counts": _runs(layer.T.ravel()), "size": [height, width]},
                }
            )
    path.write_text(json.dumps(content))
    return path


def write_label_studio(path: Path, masks: Masks, classes: Sequence[str]) -> Path:
    tasks = []
    for number, (tile, mask) in enumerate(masks.items(), start=1):
        results = [
            label_studio_result("brush", name, mask.shape, {"format": "rle", "rle": packed_brush(layer)})
            for name, layer in _layers(mask, classes)
        ]
        tasks.append(label_studio_task(number, f"/data/upload/3/0a1b2c3d-{tile}.png", results))
    path.write_text(json.dumps(tasks))
    return path


def label_studio_task(number: int, image: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    annotation = {"id": number, "was_cancelled": False, "result": results}
    return {"id": number, "data": {"image": image}, "annotations": [annotation], "predictions": []}


def label_studio_result(
    kind: str, label: str, size: tuple[int, ...], value: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": f"{kind}{label}",
        "type": f"{kind}labels",
        "from_name": kind,
        "to_name": "image",
        "original_width": size[1],
        "original_height": size[0],
        "image_rotation": 0,
        "value": value | {f"{kind}labels": [label]},
    }


def packed_brush(layer: NDArray[np.bool_]) -> list[int]:
    """Four equal channels of 0 and 255, run-length packed with single values kept apart."""
    values = np.repeat(np.where(layer.ravel(), 255, 0), 4)
    sizes = (3, 4, 8, 16)
    bits = f"{values.size:032b}{8 - 1:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    for value, group in groupby(values.tolist()):
        left = len(list(group))
        while left:
            part = min(left, 2 ** sizes[-1])
            choice = next(index for index, size in enumerate(sizes) if part <= 2**size)
            bits += f"{int(part > 1)}{choice:02b}{part - 1:0{sizes[choice]}b}{value:08b}"
            left -= part
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


WRITERS = {
    "labelme": write_labelme,
    "cvat": write_cvat,
    "coco": write_coco,
    "label-studio": write_label_studio,
}
