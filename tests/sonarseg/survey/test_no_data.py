"""Pixels without data: found in any kind of file, and out of the scaling, masks, scores and labels."""

import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from sonarseg.errors import UserError
from sonarseg.survey.checks.survey import check_survey
from sonarseg.survey.importers.mask_labels import labels_from_masks
from sonarseg.survey.layout import open_survey
from sonarseg.survey.no_data import read_valid
from sonarseg.survey.pictures import read_mask_file, read_picture
from sonarseg.survey.scaling import GreyScaling, fit_scaling, scaling_of

VALID = np.ones((6, 10), bool)
VALID[:, :3] = False
DEEP = (np.arange(60).reshape(6, 10) * 100 + 500).astype(np.uint16)


def holding(fill: float, kind: Any = np.uint16) -> np.ndarray:
    """A picture whose pixels without data hold `fill`."""
    return np.where(VALID, DEEP.astype(kind), kind(fill))


def write_tiff(path: Path, array: np.ndarray, nodata: str | None = None, **more: Any) -> Path:
    tags = [] if nodata is None else [(42113, "s", 0, nodata, True)]
    tifffile.imwrite(path, array, extratags=tags, metadata=None, **more)
    return path


TAGGED = {
    "highest": (holding(65535), "65535"),
    "zero": (holding(0), "0"),
    "blanks": (holding(65535), "  65535 "),
    "written as floating point": (holding(65535), "65535.0"),
    "RGB": (np.dstack([holding(0), holding(0), holding(0)]), "0"),
    "8 bits": (np.where(VALID, 7, 255).astype(np.uint8), "255"),
    "float": (holding(-9999, np.float32), "-9999"),
    "float, rounded": (holding(np.finfo(np.float32).min, np.float32), "-3.40282e+38"),
    "float nan": (holding(np.nan, np.float32), "nan"),
}


@pytest.mark.parametrize("name", TAGGED)
def test_the_no_data_tag_tells(tmp_path: Path, name: str) -> None:
    array, tag = TAGGED[name]
    more = {"photometric": "rgb"} if array.ndim == 3 else {}
    np.testing.assert_array_equal(read_valid(write_tiff(tmp_path / "t.tif", array, tag, **more)), VALID)


@pytest.mark.parametrize(
    ("fill", "kind"), [(-9999, np.int16), (-32768, np.int16), (2**31 - 1, np.int32), (2**32 - 1, np.uint32)]
)
def test_what_stands_for_no_data_need_not_fit_16_bits(tmp_path: Path, fill: int, kind: Any) -> None:
    path = write_tiff(tmp_path / "t.tif", holding(fill, kind), str(fill))
    np.testing.assert_array_equal(read_valid(path), VALID)
    picture = read_picture(path)
    assert picture.dtype == np.uint16
    np.testing.assert_array_equal(picture[VALID], DEEP[VALID])
    with pytest.raises(UserError, match=np.dtype(kind).name):
        read_picture(write_tiff(tmp_path / "t.tif", holding(fill, kind)))


@pytest.mark.parametrize("fill", [float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)])
@pytest.mark.filterwarnings("error")
def test_a_float_far_outside_that_stands_for_no_data_becomes_0(tmp_path: Path, fill: float) -> None:
    path = write_tiff(tmp_path / "t.tif", holding(fill, np.float32), f"{fill:.6g}")
    scaling = scaling_of([path])
    assert scaling.bits == 32
    assert DEEP.min() <= scaling.low < scaling.high <= DEEP.max()
    assert not scaling.read(path)[~VALID].any()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_pixels_without_data_are_turned_like_the_picture(tmp_path: Path, orientation: int) -> None:
    tags = [(42113, "s", 0, "65535", True), (274, "H", 1, orientation, True)]
    tifffile.imwrite(tmp_path / "t.tif", holding(65535), extratags=tags, metadata=None)
    np.testing.assert_array_equal(read_valid(tmp_path / "t.tif"), read_picture(tmp_path / "t.tif") != 65535)


@pytest.mark.parametrize("tag", ["nan", "-9999", "70000", "0.5", "", " "])
def test_a_tag_that_no_pixel_can_hold_takes_none_away(tmp_path: Path, tag: str) -> None:
    assert read_valid(write_tiff(tmp_path / "t.tif", holding(0), tag)) is None


@pytest.mark.parametrize("tag", ["inf", "-inf", "1e400"])
def test_an_infinite_tag_of_floats_takes_infinite_pixels_only(tmp_path: Path, tag: str) -> None:
    path = write_tiff(tmp_path / "t.tif", holding(float(tag), np.float32), tag)
    np.testing.assert_array_equal(read_valid(path), VALID)


IDS = np.where(VALID, np.arange(60).reshape(6, 10) % 3, 0).astype(np.uint8)


def write_palette(path: Path) -> None:
    picture = Image.fromarray(np.where(VALID, IDS, 7).astype(np.uint8))
    picture.putpalette(list(range(24)))
    picture.save(path, transparency=7)


MASKS = {
    "tag, lowest id": lambda path: write_tiff(path, np.where(VALID, IDS + 1, 0).astype(np.uint8), "0"),
    "tag, no id": lambda path: write_tiff(path, np.where(VALID, IDS.astype(np.int16), -9999), "-9999"),
    "transparent grey": lambda path: Image.fromarray(np.where(VALID, IDS, 9).astype(np.uint8)).save(
        path, format="PNG", transparency=9
    ),
    "transparent entry of a palette": write_palette,
}


@pytest.mark.parametrize("name", MASKS)
def test_pixels_that_a_mask_marks_as_without_data_are_255(tmp_path: Path, name: str) -> None:
    path = tmp_path / ("m.tif" if name.startswith("tag") else "m.png")
    MASKS[name](path)
    expected = np.where(VALID, IDS + (name == "tag, lowest id"), 255)
    np.testing.assert_array_equal(read_mask_file(path), expected)


def test_a_file_of_one_page_is_that_page_whatever_its_tag_says(tmp_path: Path) -> None:
    for kind, stored in ((1, IDS), (4, IDS > 0)):
        tifffile.imwrite(tmp_path / "t.tif", stored, subfiletype=kind, metadata=None)
        np.testing.assert_array_equal(read_mask_file(tmp_path / "t.tif"), stored)


def test_a_tag_that_holds_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"t\.tif has the no-data tag .42113. 'none', expected a number"):
        read_valid(write_tiff(tmp_path / "t.tif", holding(0), "none"))


def test_one_channel_alone_does_not_make_a_colour_no_data(tmp_path: Path) -> None:
    array = np.dstack([holding(0), DEEP, DEEP])
    assert read_valid(write_tiff(tmp_path / "t.tif", array, "0", photometric="rgb")) is None


def test_numbers_that_are_not_finite_are_no_data_without_a_tag(tmp_path: Path) -> None:
    array = holding(np.nan, np.float32)
    array[0, 0] = np.inf
    np.testing.assert_array_equal(read_valid(write_tiff(tmp_path / "t.tif", array)), VALID)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("colours", [1, 3])
def test_alpha_of_a_tiff_tells(tmp_path: Path, kind: Any, planes: str, colours: int) -> None:
    alpha = VALID.astype(kind) * np.iinfo(kind).max
    array = np.dstack([np.full(VALID.shape, 9, kind)] * colours + [alpha])
    stored = array if planes == "contig" else np.moveaxis(array, -1, 0)
    more = {"photometric": "rgb" if colours == 3 else "minisblack", "extrasamples": ["unassalpha"]}
    path = write_tiff(tmp_path / "t.tif", stored, planarconfig=planes, **more)
    np.testing.assert_array_equal(read_valid(path), VALID)


def test_a_channel_that_is_no_alpha_does_not_tell(tmp_path: Path) -> None:
    array = np.dstack([DEEP, np.zeros_like(DEEP)])
    path = write_tiff(tmp_path / "t.tif", array, photometric="minisblack", extrasamples=["unspecified"])
    assert read_valid(path) is None


@pytest.mark.parametrize("reduced", [False, True])
def test_a_mask_page_tells_and_is_no_second_picture(tmp_path: Path, reduced: bool) -> None:
    with tifffile.TiffWriter(tmp_path / "t.tif") as file:
        file.write(DEEP, photometric="minisblack", metadata=None)
        file.write(VALID, photometric="mask", subfiletype=4, metadata=None)
        if reduced:
            file.write(DEEP[::2, ::2], photometric="minisblack", subfiletype=1, metadata=None)
    np.testing.assert_array_equal(read_valid(tmp_path / "t.tif"), VALID)
    np.testing.assert_array_equal(read_picture(tmp_path / "t.tif"), DEEP)


def with_chunk(png: bytes, name: bytes, content: bytes) -> bytes:
    place = png.index(b"IDAT") - 4
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return png[:place] + chunk + png[place:]


def png_with(kind: str) -> bytes:
    """A PNG whose pixels outside `VALID` are transparent."""
    grey = np.where(VALID, 40 + 5 * np.arange(60).reshape(6, 10) % 200, 3).astype(np.uint8)
    alpha = VALID.astype(np.uint8) * 255
    deep, deep_alpha = holding(7), VALID.astype(np.uint16)
    match kind:
        case "grey, alpha":
            return imagecodecs.png_encode(np.dstack([grey, alpha]))
        case "RGB, alpha":
            return imagecodecs.png_encode(np.dstack([grey] * 3 + [alpha]))
        case "16-bit grey, alpha of 1":
            return imagecodecs.png_encode(np.dstack([deep, deep_alpha]))
        case "16-bit RGB, alpha of 1":
            return imagecodecs.png_encode(np.dstack([deep] * 3 + [deep_alpha]))
        case "grey, one transparent":
            return with_chunk(imagecodecs.png_encode(grey), b"tRNS", struct.pack(">H", 3))
        case "RGB, one transparent":
            return with_chunk(
                imagecodecs.png_encode(np.dstack([grey] * 3)), b"tRNS", struct.pack(">3H", 3, 3, 3)
            )
        case "16-bit grey, one transparent":
            return with_chunk(imagecodecs.png_encode(deep), b"tRNS", struct.pack(">H", 7))
        case _:
            return with_chunk(
                imagecodecs.png_encode(np.dstack([deep] * 3)), b"tRNS", struct.pack(">3H", 7, 7, 7)
            )


PNGS = ["grey, alpha", "RGB, alpha", "16-bit grey, alpha of 1", "16-bit RGB, alpha of 1"] + [
    f"{kind}, one transparent" for kind in ("grey", "RGB", "16-bit grey", "16-bit RGB")
]


@pytest.mark.parametrize("kind", PNGS)
def test_transparent_pixels_of_a_png_have_no_data(tmp_path: Path, kind: str) -> None:
    (tmp_path / "t.png").write_bytes(png_with(kind))
    np.testing.assert_array_equal(read_valid(tmp_path / "t.png"), VALID)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_transparent_entries_of_a_palette_have_no_data(tmp_path: Path, bits: int) -> None:
    picture = Image.fromarray(VALID.astype(np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, 90, 90, 90])
    picture.save(tmp_path / "t.png", transparency=0, bits=bits)
    np.testing.assert_array_equal(read_valid(tmp_path / "t.png"), VALID)


def test_a_transparent_grey_of_few_bits_has_no_data(tmp_path: Path) -> None:
    Image.fromarray(VALID).save(tmp_path / "t.png", transparency=0)
    np.testing.assert_array_equal(read_valid(tmp_path / "t.png"), VALID)


def test_opaque_pictures_have_data_everywhere(tmp_path: Path) -> None:
    grey = np.full(VALID.shape, 9, np.uint8)
    for number, array in enumerate((grey, np.dstack([grey] * 4))):
        (tmp_path / f"{number}.png").write_bytes(imagecodecs.png_encode(array))
        assert read_valid(tmp_path / f"{number}.png") is None
    assert read_valid(write_tiff(tmp_path / "t.tif", DEEP)) is None


def make_deep(root: Path, nodata: str | None) -> None:
    """Replace all pictures by 16-bit ones with 65535 in the first three columns."""
    for path in list((root / "images").iterdir()):
        path.unlink()
        write_tiff(path.with_suffix(".tif"), holding(65535), nodata)


def test_the_scaling_leaves_out_pixels_without_data(root: Path) -> None:
    make_deep(root, "65535")
    scaling = fit_scaling(open_survey(root))
    assert scaling.high <= DEEP.max()
    scaled = scaling.read(root / "images" / "a1.tif")
    assert not scaled[~VALID].any()
    assert len(np.unique(scaled[VALID])) > 40


def test_colours_of_pixels_without_data_do_not_make_a_grey_survey_rgb(root: Path) -> None:
    for path in (root / "images").iterdir():
        grey = np.asarray(Image.open(path))
        red = np.where(VALID, grey, 255)
        Image.fromarray(np.dstack([red, grey, grey, VALID.astype(np.uint8) * 255])).save(path)
    assert fit_scaling(open_survey(root)) == GreyScaling()


def test_a_survey_without_any_data_is_refused(root: Path) -> None:
    for path in list((root / "images").iterdir()):
        path.unlink()
        write_tiff(path.with_suffix(".tif"), np.zeros((6, 10), np.uint16), "0")
    with pytest.raises(UserError, match="hold no pixel with data"):
        fit_scaling(open_survey(root))


def test_masks_are_255_at_pixels_without_data(root: Path) -> None:
    before = open_survey(root).read_mask("c1")
    make_deep(root, "65535")
    mask = open_survey(root).read_mask("c1")
    assert (mask[~VALID] == 255).all()
    np.testing.assert_array_equal(mask[VALID], before[VALID])


def test_labels_from_masks_leave_out_pixels_without_data(root: Path) -> None:
    make_deep(root, "65535")
    mask = np.where(VALID, 0, 2).astype(np.uint8)
    Image.fromarray(mask).save(root / "masks" / "a1.png")
    assert labels_from_masks(root)["a1"].tolist() == [True, False, False]


@pytest.mark.parametrize("value", [0, 65535])
def test_check_notes_a_value_that_may_mean_no_data(root: Path, value: int) -> None:
    for path in list((root / "images").iterdir()):
        path.unlink()
        write_tiff(path.with_suffix(".tif"), holding(value))
    (note,) = [note for note in check_survey(root).notes if "no data" in note]
    assert note.startswith(f"30.0% of the pixels are {value}: if that means no data, ")
    make_deep(root, "65535")
    check = check_survey(root)
    assert not [note for note in check.notes if "no data" in note]
    assert ("pixels without data", "-", "30.0%", "-") in check.rows


def test_check_does_not_note_a_few_extreme_pixels(root: Path) -> None:
    for path in list((root / "images").iterdir()):
        path.unlink()
        write_tiff(path.with_suffix(".tif"), DEEP)
    array = DEEP.copy()
    array[0, 0] = 65535
    write_tiff(root / "images" / "a1.tif", array)
    assert not [note for note in check_survey(root).notes if "no data" in note]
