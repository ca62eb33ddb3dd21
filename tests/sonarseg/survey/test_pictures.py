"""Pictures and masks of every kind that people bring."""

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from sonarseg.class_colours import colour_table
from sonarseg.errors import UserError
from sonarseg.survey.formats import found
from sonarseg.survey.pictures import (
    picture_bits,
    picture_size,
    read_mask_file,
    read_picture,
    write_index_png,
    write_png,
)

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 200, (5, 7), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
RGB16 = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
PALETTE = RNG.integers(0, 256, (256, 3), dtype=np.uint8)


def palette_picture() -> Image.Image:
    picture = Image.fromarray(GREY)
    picture = picture.convert("L").convert("P")
    picture.putdata(GREY.ravel().tolist())
    picture.putpalette(PALETTE.ravel().tolist())
    return picture


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".PNG"])
@pytest.mark.parametrize("array", [GREY, GREY16, RGB], ids=["grey", "grey16", "rgb"])
def test_plain_pictures_come_back_as_they_were(tmp_path: Path, array: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"tile{suffix}"
    Image.fromarray(array).save(path, format="PNG" if suffix.lower() == ".png" else "TIFF")
    read = read_picture(path)
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)
    assert picture_size(path) == (5, 7)


def test_16_bit_rgb_keeps_its_16_bits(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "t.tif", RGB16, photometric="rgb")
    (tmp_path / "t.png").write_bytes(imagecodecs.png_encode(RGB16))
    np.testing.assert_array_equal(read_picture(tmp_path / "t.tif"), RGB16)
    np.testing.assert_array_equal(read_picture(tmp_path / "t.png"), RGB16)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_alpha_is_dropped(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(GREY).convert("LA").save(tmp_path / f"la{suffix}")
    Image.fromarray(RGB).convert("RGBA").save(tmp_path / f"rgba{suffix}")
    np.testing.assert_array_equal(read_picture(tmp_path / f"la{suffix}"), GREY)
    np.testing.assert_array_equal(read_picture(tmp_path / f"rgba{suffix}"), RGB)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_palette_gives_colours_in_a_picture_and_indices_in_a_mask(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"palette{suffix}"
    palette_picture().save(path)
    np.testing.assert_array_equal(read_picture(path), PALETTE[GREY])
    np.testing.assert_array_equal(read_mask_file(path), GREY)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_one_bit_is_black_and_white_in_a_picture_and_class_0_and_1_in_a_mask(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"bits{suffix}"
    Image.fromarray(GREY > 100).save(path)
    np.testing.assert_array_equal(read_picture(path), np.where(GREY > 100, 255, 0))
    np.testing.assert_array_equal(read_mask_file(path), (GREY > 100).astype(int))


def test_white_is_zero_is_turned_round_in_pictures_only(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "t.tif", GREY, photometric="miniswhite")
    np.testing.assert_array_equal(read_picture(tmp_path / "t.tif"), 255 - GREY)
    np.testing.assert_array_equal(read_mask_file(tmp_path / "t.tif"), GREY)


@pytest.mark.parametrize("options", [{"compression": "lzw"}, {"compression": "zlib", "tile": (16, 16)}])
def test_compressed_and_tiled_tiff(tmp_path: Path, options: dict) -> None:
    tifffile.imwrite(tmp_path / "t.tif", GREY, **options)
    np.testing.assert_array_equal(read_picture(tmp_path / "t.tif"), GREY)


def test_planar_tiff(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "t.tif", np.moveaxis(RGB, 2, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_picture(tmp_path / "t.tif"), RGB)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (5, 3), (3, 4), (2, 2)])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_narrow_tiles_keep_their_shape(tmp_path: Path, shape: tuple[int, int], suffix: str) -> None:
    array = np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)
    Image.fromarray(array).save(tmp_path / f"t{suffix}")
    tifffile.imwrite(tmp_path / "u.tif", array, photometric="minisblack")
    for name in (f"t{suffix}", "u.tif"):
        np.testing.assert_array_equal(read_picture(tmp_path / name), array)
        np.testing.assert_array_equal(read_mask_file(tmp_path / name), array)
        assert picture_size(tmp_path / name) == shape


def test_whole_numbers_of_32_bits_within_16_are_taken(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "t.tif", GREY16.astype(np.int32))
    np.testing.assert_array_equal(read_picture(tmp_path / "t.tif"), GREY16)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((5, 7), 1 + 2j, np.complex64), "complex64"),
        (np.full((5, 7, 3), 0.5, np.float32), "three channels of floating-point numbers"),
        (np.full((5, 7), -3, np.int16), "int16"),
        (np.full((5, 7), 70000, np.int32), "int32"),
        (np.zeros((4, 5, 7), np.uint8), "several pictures"),
    ],
)
def test_other_numbers_are_refused_in_one_sentence(tmp_path: Path, array: np.ndarray, words: str) -> None:
    path = tmp_path / "t.tif"
    tifffile.imwrite(path, array, photometric="rgb" if array.shape[-1] == 3 else "minisblack")
    with pytest.raises(UserError, match=words) as error:
        read_picture(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floating_point_numbers_of_one_channel_are_taken(tmp_path: Path, kind: type) -> None:
    array = np.linspace(-40, 3, 35, dtype=kind).reshape(5, 7)
    array[0, :3] = np.nan, np.inf, -np.inf
    tifffile.imwrite(tmp_path / "t.tif", array)
    read = read_picture(tmp_path / "t.tif")
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, array.astype(np.float32))
    assert picture_size(tmp_path / "t.tif") == (5, 7)
    assert picture_bits(tmp_path / "t.tif") == 32


def test_a_fill_value_of_64_bits_becomes_infinite(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "t.tif", np.array([[-1.7976931348623157e308, 2.0]]))
    np.testing.assert_array_equal(read_picture(tmp_path / "t.tif"), np.array([[-np.inf, 2]], np.float32))


def test_unsigned_numbers_of_32_bits_within_16_are_taken(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "t.tif", GREY16.astype(np.uint32))
    np.testing.assert_array_equal(read_picture(tmp_path / "t.tif"), GREY16)


@pytest.mark.parametrize("bits", [1, 2, 4, 6])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_few_bits_of_tiff_are_stretched_in_a_picture_only(
    tmp_path: Path, bits: int, photometric: str
) -> None:
    most = 2**bits - 1
    array = (np.arange(35) % (most + 1)).reshape(5, 7).astype(np.uint8)
    stored = array.astype(bool) if bits == 1 else array
    tifffile.imwrite(tmp_path / "t.tif", stored, bitspersample=bits, photometric=photometric)
    np.testing.assert_array_equal(read_mask_file(tmp_path / "t.tif"), array)
    levels = np.round(array * (255 / most))
    expected = levels if photometric == "minisblack" else 255 - levels
    np.testing.assert_array_equal(read_picture(tmp_path / "t.tif"), expected)


def test_a_palette_of_tiff_with_entries_of_8_bits_is_not_black(tmp_path: Path) -> None:
    colours = np.arange(256, dtype=np.uint16)
    for stored in (colours, colours * 257):
        palette = np.stack([stored] * 3)
        tifffile.imwrite(tmp_path / "t.tif", GREY, photometric="palette", colormap=palette)
        np.testing.assert_array_equal(read_picture(tmp_path / "t.tif"), np.dstack([GREY] * 3))


def test_the_depth_of_other_formats_under_the_suffix_of_png_is_told(tmp_path: Path) -> None:
    head = b"P5 %d %d 65535\n" % GREY16.shape[::-1]
    (tmp_path / "deep.png").write_bytes(head + GREY16.astype(">u2").tobytes())
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "float.png", format="PPM")
    Image.fromarray(GREY).save(tmp_path / "plain.png", format="BMP")
    for name, bits in (("deep.png", 16), ("float.png", 32), ("plain.png", 8)):
        assert picture_bits(tmp_path / name) == bits
    np.testing.assert_array_equal(read_picture(tmp_path / "deep.png"), GREY16)


@pytest.mark.parametrize("highest", [1, 2, 15, 255])
def test_a_pgm_mask_whose_ids_would_be_stretched_is_refused(tmp_path: Path, highest: int) -> None:
    path, ids = tmp_path / "m.png", GREY % 2
    path.write_bytes(b"P5 %d %d %d\n" % (*ids.shape[::-1], highest) + ids.tobytes())
    if highest == 255:
        np.testing.assert_array_equal(read_mask_file(path), ids)
        return
    with pytest.raises(UserError, match=f"PGM file of levels 0 to {highest}: save the mask as PNG"):
        read_mask_file(path)


def test_few_bits_of_a_palette_are_no_grey_levels(tmp_path: Path) -> None:
    picture = palette_picture().point(lambda index: index % 4)
    picture.putpalette(PALETTE[:4].ravel().tolist())
    picture.save(tmp_path / "t.png", bits=2)
    np.testing.assert_array_equal(read_picture(tmp_path / "t.png"), PALETTE[GREY % 4])
    np.testing.assert_array_equal(read_mask_file(tmp_path / "t.png"), GREY % 4)


@pytest.mark.parametrize(("photometric", "compressed"), [("ycbcr", None), ("cielab", None)])
def test_colours_that_would_be_misread_are_refused(
    tmp_path: Path, photometric: str, compressed: str | None
) -> None:
    tifffile.imwrite(tmp_path / "t.tif", RGB, photometric=photometric, compression=compressed)
    with pytest.raises(UserError, match=f"has the colours {photometric.upper()}"):
        read_picture(tmp_path / "t.tif")


def test_jpeg_tiles_inside_tiff_are_rgb(tmp_path: Path) -> None:
    plain = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    tifffile.imwrite(tmp_path / "t.tif", plain, photometric="rgb", compression="jpeg")
    Image.fromarray(plain).save(tmp_path / "u.tif", compression="jpeg")
    for name in ("t.tif", "u.tif"):
        assert np.abs(read_picture(tmp_path / name).astype(int) - plain).max() <= 4


@pytest.mark.parametrize("name", ["t.jpg", "t.JPEG"])
@pytest.mark.parametrize("array", [GREY // 100 * 100, np.full((5, 7, 3), 90, np.uint8)])
def test_jpeg_pictures_are_taken(tmp_path: Path, name: str, array: np.ndarray) -> None:
    Image.fromarray(array).save(tmp_path / name, quality=100)
    read = read_picture(tmp_path / name)
    assert read.shape == array.shape
    assert np.abs(read.astype(int) - array).max() <= 4


def test_cmyk_is_refused(tmp_path: Path) -> None:
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "t.tif")
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "t.png", format="JPEG")
    for name in ("t.tif", "t.png"):
        with pytest.raises(UserError, match="CMYK"):
            read_picture(tmp_path / name)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (RGB, "3 channels"),
        (np.dstack([GREY, GREY]), "2 channels"),
        (GREY16, "value"),
        (GREY.astype(np.float32), "float32"),
        (np.full((5, 7), -1, np.int16), "value -1"),
    ],
)
def test_masks_that_are_no_class_ids_are_refused(tmp_path: Path, array: np.ndarray, words: str) -> None:
    photometric = "rgb" if array.shape[-1] == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "m.tif", array, photometric=photometric, planarconfig="contig")
    with pytest.raises(UserError, match=words):
        read_mask_file(tmp_path / "m.tif")


def grey_png(rows: list[list[int]], depth: int) -> bytes:
    """A grey PNG of fewer than 8 bits a pixel, put together by hand (PNG specification, sections 5 and 7)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    packed = b""
    for row in rows:
        bits = "".join(f"{value:0{depth}b}" for value in row)
        bits += "0" * (-len(bits) % 8)
        packed += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), depth, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(packed)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_bits_are_ids_in_a_mask_and_grey_levels_in_a_picture(tmp_path: Path, depth: int) -> None:
    most = 2**depth - 1
    rows = [[0, 1, most], [most, 0, 1]]
    path = tmp_path / "a.png"
    path.write_bytes(grey_png(rows, depth))
    np.testing.assert_array_equal(read_mask_file(path), rows)
    np.testing.assert_array_equal(read_picture(path), np.array(rows) * (255 // most))


def test_rgb_png_masks_are_refused(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "m.png")
    with pytest.raises(UserError, match="one channel that holds class ids"):
        read_mask_file(tmp_path / "m.png")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(suffix=st.sampled_from([".png", ".tif", ".jpg"]), share=st.floats(0, 0.9))
def test_files_cut_short_end_in_a_sentence(tmp_path: Path, suffix: str, share: float) -> None:
    whole = tmp_path / f"whole{suffix}"
    Image.fromarray(np.tile(RGB, (8, 8, 1))).save(whole)
    content = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(content[: int(len(content) * share)])
    for read in (read_picture, read_mask_file):
        with pytest.raises(UserError, match="cut") as error:
            read(cut)
        assert "\n" not in str(error.value)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "text.tif").write_text("no picture")
    for suffix in ("png", "tif", "jpg"):
        (tmp_path / f"empty.{suffix}").touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.tif").mkdir()
    for name, words in (
        ("nothing.png", "missing"),
        ("text.png", "cannot be read"),
        ("text.tif", "cannot be read"),
        ("folder.png", "is a folder"),
        ("folder.tif", "is a folder"),
        ("empty.png", "is empty"),
        ("empty.tif", "is empty"),
        ("empty.jpg", "is empty"),
    ):
        for read in (read_picture, read_mask_file, picture_size):
            with pytest.raises(UserError, match=words):
                read(tmp_path / name)


def test_huge_pictures_are_refused_before_they_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(found, "MOST_PIXELS", 34)
    Image.fromarray(GREY).save(tmp_path / "t.png")
    Image.fromarray(GREY).save(tmp_path / "t.tif")
    for name in ("t.png", "t.tif"):
        with pytest.raises(UserError, match="7 x 5 pixels"):
            read_picture(tmp_path / name)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mask=hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_index_pictures_come_back(tmp_path: Path, mask: np.ndarray) -> None:
    write_index_png(tmp_path / "m.png", mask)
    np.testing.assert_array_equal(read_mask_file(tmp_path / "m.png"), mask)
    with Image.open(tmp_path / "m.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), mask)
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), colour_table()[mask])


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.png"
    write_png(path, RGB)

    def fail(self: Image.Image, target: Path, **_: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="space"):
        write_png(path, GREY)
    np.testing.assert_array_equal(read_picture(path), RGB)
    assert list(tmp_path.iterdir()) == [path]
