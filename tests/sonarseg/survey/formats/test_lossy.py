"""Masks whose class ids a compression has changed, and files that hold several pictures."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from sonarseg.errors import UserError
from sonarseg.survey.pictures import picture_size, read_mask_file, read_picture

MASK = np.kron(np.array([[0, 1, 2], [3, 1, 0]], np.uint8), np.ones((24, 24), np.uint8))
OTHER = np.full_like(MASK, 200)


@pytest.mark.parametrize("name", ["m.png", "m.jpg", "m.jpeg", "m.tif"])
def test_jpeg_is_no_mask_under_any_name(tmp_path: Path, name: str) -> None:
    Image.fromarray(MASK).save(tmp_path / name, format="JPEG")
    with pytest.raises(UserError, match="JPEG, which changes class ids: save it as PNG"):
        read_mask_file(tmp_path / name)
    assert read_picture(tmp_path / name).shape == picture_size(tmp_path / name) == MASK.shape


@pytest.mark.parametrize(
    ("compression", "level", "words"),
    [
        ("jpeg", {"level": 90}, "JPEG"),
        ("jpeg2000", {"level": 30}, "JPEG2000|JPEG_2000"),
        ("lerc", {"level": 2.0}, "LERC"),
        ("lerc", {"level": 2.0, "version": 3}, "LERC"),
        ("jpegxl", {"level": 50}, "JPEGXL"),
        ("jpegxr", {"level": 50}, "JPEGXR"),
    ],
)
def test_tiff_compressed_with_loss(tmp_path: Path, compression: str, level: dict, words: str) -> None:
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, MASK, compression=compression, compressionargs=level)
    with pytest.raises(UserError, match=words) as error:
        read_mask_file(path)
    assert "save it as PNG" in str(error.value)
    assert read_picture(path).shape == MASK.shape


@pytest.mark.parametrize(
    ("compression", "options"),
    [
        ("none", {}),
        ("lzw", {}),
        ("zlib", {}),
        ("packbits", {}),
        ("zstd", {}),
        ("lzma", {}),
        ("png", {}),
        ("jpeg2000", {}),
        ("lerc", {}),
        ("lerc", {"version": 2}),
        ("lerc", {"version": 6}),
    ],
)
def test_tiff_compressed_without_loss(tmp_path: Path, compression: str, options: dict) -> None:
    tifffile.imwrite(tmp_path / "m.tif", MASK, compression=compression, compressionargs=options)
    np.testing.assert_array_equal(read_mask_file(tmp_path / "m.tif"), MASK)


@pytest.mark.parametrize("outer", ["deflate", "zstd"])
@pytest.mark.parametrize(("error", "kept"), [(0, True), (3.0, False)])
def test_lerc_under_another_compression(tmp_path: Path, outer: str, error: float, kept: bool) -> None:
    path = tmp_path / "m.tif"
    options = {"level": error, "compression": outer}
    tifffile.imwrite(path, MASK, compression="lerc", compressionargs=options)
    if kept:
        np.testing.assert_array_equal(read_mask_file(path), MASK)
    else:
        with pytest.raises(UserError, match="LERC"):
            read_mask_file(path)


def test_formats_under_the_suffix_of_png(tmp_path: Path) -> None:
    Image.fromarray(MASK).save(tmp_path / "bmp.png", format="BMP")
    Image.fromarray(MASK).save(tmp_path / "gif.png", format="GIF")
    Image.fromarray(MASK).save(tmp_path / "tiff.png", format="TIFF")
    Image.fromarray(MASK).save(tmp_path / "png.tif", format="PNG")
    (tmp_path / "kept.png").write_bytes(imagecodecs.jpeg2k_encode(MASK))
    for name in ("bmp.png", "gif.png", "tiff.png", "png.tif", "kept.png"):
        np.testing.assert_array_equal(read_mask_file(tmp_path / name), MASK)
    Image.fromarray(MASK).save(tmp_path / "webp.png", format="WEBP")
    (tmp_path / "lost.png").write_bytes(imagecodecs.jpeg2k_encode(MASK, level=30))
    for name in ("webp.png", "lost.png"):
        with pytest.raises(UserError, match="save it as PNG"):
            read_mask_file(tmp_path / name)


def write_frames(path: Path, kind: str) -> None:
    pictures = [Image.fromarray(MASK), Image.fromarray(OTHER)]
    if kind == "palette PNG":
        pictures = [picture.convert("P") for picture in pictures]
    pictures[0].save(path, format=kind.split()[-1], save_all=True, append_images=pictures[1:])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
@pytest.mark.parametrize("kind", ["PNG", "palette PNG", "TIFF", "GIF", "WEBP", "MPO"])
def test_several_pictures_in_one_file(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    write_frames(path, kind)
    for read in (read_picture, read_mask_file, picture_size):
        with pytest.raises(UserError, match="holds several pictures"):
            read(path)


def test_an_animation_of_one_frame_is_one_picture(tmp_path: Path) -> None:
    Image.fromarray(MASK).save(tmp_path / "m.png", save_all=True)
    np.testing.assert_array_equal(read_mask_file(tmp_path / "m.png"), MASK)


def test_a_stack_of_imagej_under_one_page(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m.tif", np.stack([MASK] * 3), imagej=True)
    for read in (read_picture, read_mask_file):
        with pytest.raises(UserError, match="holds several pictures"):
            read(tmp_path / "m.tif")


def test_reduced_copies_and_masks_of_pixels_are_no_pictures(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        file.write(MASK)
        file.write(OTHER[::2, ::2], subfiletype=1)
        file.write(OTHER > 0, subfiletype=4)
    np.testing.assert_array_equal(read_mask_file(tmp_path / "m.tif"), np.where(OTHER > 0, MASK, 255))
    np.testing.assert_array_equal(read_picture(tmp_path / "m.tif"), MASK)
    assert picture_size(tmp_path / "m.tif") == MASK.shape
