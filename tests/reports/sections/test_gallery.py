"""Picture rows: every class in its colour, unreadable input in one sentence."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reports.sections.gallery import activation_address, labels_address, read_gallery, tile_address
from reports.style.palette import NO_DATA
from sonarseg.class_colours import class_rgb
from sonarseg.errors import UserError
from studies.previews.rows import evenly_ranked
from tests.support.fake_studies import CLASSES
from tests.support.fake_workspace import write_pictures


def decode(address: str) -> Image.Image:
    head, data = address.split(",", 1)
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_labels_keep_their_colours(classes: int, height: int, width: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, classes + 1, (height, width)).astype(np.uint8)
    labels[labels == classes] = 255
    pixels = np.asarray(decode(labels_address(labels, classes)).convert("RGBA"))
    for index in range(classes):
        assert (pixels[labels == index] == (*class_rgb(index), 255)).all()
    assert (pixels[labels == 255][:, 3] == NO_DATA[3]).all()


def test_a_large_picture_is_thinned_not_blurred() -> None:
    labels = np.zeros((1500, 700), dtype=np.uint8)
    labels[:, 350:] = 1
    pixels = np.asarray(decode(labels_address(labels, 2)).convert("RGB"))
    assert max(pixels.shape) <= 512
    assert {tuple(p) for p in pixels.reshape(-1, 3).tolist()} == {class_rgb(0), class_rgb(1)}


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_tile_is_compact(mode: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1024, 600, 3), dtype=np.uint8)
    picture = decode(tile_address(Image.fromarray(noise).convert(mode)))
    assert picture.size == (300, 512)


def test_gallery_is_read(workspace: Path) -> None:
    gallery = read_gallery(workspace)
    assert gallery is not None
    assert [name for name, _ in gallery.legend] == CLASSES
    assert [len(row.panels) for row in gallery.rows] == [7, 7, 7]
    assert gallery.rows[0].panels[0].is_tile
    assert [panel.see_through for panel in gallery.rows[0].panels] == [False, True] + [False] * 5
    assert gallery.rows[0].panels[2].miou == pytest.approx(0.45)
    assert (gallery.rows[0].panels[2].width, gallery.rows[0].panels[2].height) == (166, 83)


def test_an_activation_map_is_the_more_opaque_the_stronger() -> None:
    activation = np.zeros((40, 60, 2), dtype=np.uint8)
    activation[:, 30:, 0] = 1
    activation[20:, :, 1] = 255
    picture = decode(activation_address(activation, 2)).convert("RGBA")
    assert picture.size == (60, 40)
    pixels = np.asarray(picture)
    assert (pixels[:15, :, 3] == 0).all()
    assert (pixels[25:, :, 3] == round(255 * 0.8)).all()
    for index, part in enumerate((pixels[25:, 5:25], pixels[25:, 35:55])):
        np.testing.assert_allclose(part[..., :3].mean(axis=(0, 1)), class_rgb(index), atol=6)
    with pytest.raises(ValueError, match="class ids below 1"):
        activation_address(activation, 1)


def test_no_pictures_is_none(tmp_path: Path) -> None:
    assert read_gallery(tmp_path) is None


def test_bad_pictures_are_one_sentence(tmp_path: Path) -> None:
    write_pictures(tmp_path, rows=1)
    rows = tmp_path / "pictures" / "rows.json"
    content = json.loads(rows.read_text(encoding="utf-8"))
    (tmp_path / "pictures" / "0-2.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"0-2\.png cannot be read as a picture"):
        read_gallery(tmp_path)
    Image.fromarray(np.full((4, 4), 9, dtype=np.uint8)).save(tmp_path / "pictures" / "0-2.png")
    with pytest.raises(UserError, match="ids below 4 or 255"):
        read_gallery(tmp_path)
    content["rows"][0]["panels"][2]["file"] = "../../secret.png"
    rows.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match="lies outside its folder"):
        read_gallery(tmp_path)
    rows.write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="not a list of picture rows"):
        read_gallery(tmp_path)


@pytest.mark.parametrize("tiles", [5, 6, 7, 8, 44])
def test_the_middle_row_is_the_median(tmp_path: Path, tiles: int) -> None:
    write_pictures(tmp_path, rows=5)
    rows = tmp_path / "pictures" / "rows.json"
    content = json.loads(rows.read_text(encoding="utf-8"))
    chosen = evenly_ranked([-float(tile) for tile in range(tiles)], 5)
    for row, rank in zip(content["rows"], chosen, strict=True):
        row |= {"rank": rank, "of": tiles, "gain": 0.1}
    rows.write_text(json.dumps(content), encoding="utf-8")
    gallery = read_gallery(tmp_path)
    assert gallery is not None
    assert gallery.rows[2].note.startswith("median gain")
