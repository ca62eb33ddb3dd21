"""Orientation tags: every picture, mask and size is as viewers show it."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from sonarseg.densecrf.files.scores import find_score_files
from sonarseg.survey.layout import open_survey
from sonarseg.survey.no_data import read_valid
from sonarseg.survey.pictures import picture_size, read_mask_file, read_picture

# Wide blocks: JPEG keeps their middles
STORED = np.kron(np.array([[0, 80, 160], [240, 40, 120]], np.uint8), np.ones((16, 16), np.uint8))
COLOURS = np.dstack([STORED, STORED // 2, 255 - STORED])


def as_viewers_show(array: np.ndarray, orientation: int) -> np.ndarray:
    content = io.BytesIO()
    Image.fromarray(array).save(content, format="PNG", exif=exif(orientation))
    return np.asarray(ImageOps.exif_transpose(Image.open(content)))


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[274] = orientation
    return tags


def write(path: Path, array: np.ndarray, orientation: int) -> None:
    if path.suffix == ".tif":
        tag = (274, "H", 1, orientation, True)
        tifffile.imwrite(path, array, photometric="rgb" if array.ndim == 3 else "minisblack", extratags=[tag])
    else:
        Image.fromarray(array).save(path, exif=exif(orientation), quality=95, subsampling=0)


@pytest.mark.parametrize("array", [STORED, COLOURS], ids=["grey", "rgb"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_and_sizes_are_upright(
    tmp_path: Path, orientation: int, suffix: str, array: np.ndarray
) -> None:
    path = tmp_path / f"t{suffix}"
    write(path, array, orientation)
    expected = as_viewers_show(array, orientation)
    read = read_picture(path)
    assert picture_size(path) == read.shape[:2] == expected.shape[:2]
    near = 12 if suffix == ".jpg" else 0
    assert np.abs(read.astype(int) - expected).max() <= near


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("orientation", [2, 3, 6, 7])
def test_masks_are_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    write(path, STORED, orientation)
    np.testing.assert_array_equal(read_mask_file(path), as_viewers_show(STORED, orientation))


@pytest.mark.parametrize("orientation", [0, 9])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_values_that_are_no_orientation_change_nothing(tmp_path: Path, orientation: int, suffix: str) -> None:
    write(tmp_path / f"t{suffix}", STORED, orientation)
    assert read_picture(tmp_path / f"t{suffix}").shape == STORED.shape


def with_chunk(png: bytes, kind: bytes, content: bytes, *, last: bool) -> bytes:
    """Put a chunk behind the header, or behind the pixels."""
    chunk = struct.pack(">I", len(content)) + kind + content
    chunk += struct.pack(">I", zlib.crc32(kind + content))
    place = len(png) - 12 if last else 8 + 25
    return png[:place] + chunk + png[place:]


@pytest.mark.parametrize("last", [False, True])
def test_exif_and_xmp_of_png_wherever_they_stand(tmp_path: Path, last: bool) -> None:
    content = io.BytesIO()
    Image.fromarray(STORED).save(content, format="PNG")
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0" + b'<x:xmpmeta><rdf tiff:Orientation="6"/></x:xmpmeta>'
    tags = exif(6).tobytes().removeprefix(b"Exif\0\0")
    for name, kind, remark in (("e.png", b"eXIf", tags), ("x.png", b"iTXt", xmp)):
        (tmp_path / name).write_bytes(with_chunk(content.getvalue(), kind, remark, last=last))
        np.testing.assert_array_equal(read_picture(tmp_path / name), np.rot90(STORED, -1))
        assert picture_size(tmp_path / name) == (48, 32)


def test_16_bit_colours_and_the_original_of_a_palette_are_upright(tmp_path: Path) -> None:
    deep = COLOURS.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "t.tif", deep, photometric="rgb", extratags=[(274, "H", 1, 8, True)])
    np.testing.assert_array_equal(read_picture(tmp_path / "t.tif"), np.rot90(deep))
    palette = Image.fromarray(STORED).convert("P")
    palette.save(tmp_path / "p.png", exif=exif(8))
    np.testing.assert_array_equal(read_picture(tmp_path / "p.png")[..., 0], np.rot90(STORED))


def test_a_mask_fits_the_tile_that_its_viewer_showed(root: Path) -> None:
    mask = np.zeros((32, 48), np.uint8)
    Image.fromarray(mask).save(root / "masks" / "c1.png")
    (root / "images" / "c1.png").unlink()
    write(root / "images" / "c1.jpg", np.rot90(STORED), 6)
    survey = open_survey(root)
    assert survey.read_mask("c1").shape == survey.read_image("c1").shape == (32, 48)


def test_scores_fit_the_picture_that_they_were_made_from(tmp_path: Path) -> None:
    write(tmp_path / "t.jpeg", np.rot90(STORED), 6)
    np.save(tmp_path / "t.npy", np.zeros((2, 32, 48), np.float32))
    assert find_score_files(tmp_path / "t.npy", tmp_path / "t.jpeg", tmp_path / "o.png").num_classes == 2


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_pixels_without_data_are_where_the_picture_shows_them(tmp_path: Path, suffix: str) -> None:
    alpha = np.where(STORED > 200, 0, 255).astype(np.uint8)
    path = tmp_path / f"t{suffix}"
    if suffix == ".png":
        Image.fromarray(np.dstack([STORED, alpha])).save(path, exif=exif(6))
    else:
        tags = [(274, "H", 1, 6, True), (42113, "s", 0, "240", True)]
        tifffile.imwrite(path, STORED, extratags=tags)
    np.testing.assert_array_equal(read_valid(path), np.rot90(alpha > 0, -1))
    assert (read_picture(path) == 240).tolist() == (~np.rot90(alpha > 0, -1)).tolist()
