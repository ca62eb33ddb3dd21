"""One scaling to 0..255 for a whole survey, so that a grey level means the same in every tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from sonarseg.errors import UserError
from sonarseg.survey.no_data import filled, read_valid
from sonarseg.survey.pictures import Picture, picture_bits, read_picture

if TYPE_CHECKING:
    from sonarseg.survey.layout import Survey

# Tiles, and pixels of each, that the scaling of 16-bit surveys is found from
SAMPLE = 200
PIXELS = 4096
PERCENTILES = (0.5, 99.5)
# The scaling that changes nothing
WHOLE_RANGE = (0.0, 255.0)
FLOATING: Literal[32] = 32


class GreyScaling(BaseModel):
    """Linear scaling from `low`..`high` to 0..255.

    Attributes
    ----------
    low, high : float
        Values that become 0 and 255.
    channels : int
        1 (grey) or 3 (RGB).
    bits : int
        Depth of the pictures that it was found from: 8, 16, or 32 for floating point. By default 8 where
        the scaling changes nothing, else 16.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: float = 0.0
    high: float = 255.0
    channels: Literal[1, 3] = 1
    bits: Literal[8, 16, 32] = 8

    @model_validator(mode="before")
    @classmethod
    def _infer_bits(cls, content: Any) -> Any:
        if not isinstance(content, dict) or "bits" in content:
            return content
        return {**content, "bits": _usual_bits(content.get("low", 0.0), content.get("high", 255.0))}

    @model_serializer(mode="wrap")
    def _without_usual_bits(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Stores and checkpoints are known by this text: it stays what it was before depths were noted.
        content: dict[str, Any] = handler(self)
        if self.bits == _usual_bits(self.low, self.high):
            del content["bits"]
        return content

    def read(self, path: Path) -> NDArray[np.uint8]:
        """Read a picture file and scale it; see `apply`. Pixels without data become 0."""
        return filled(self.apply(read_picture(path), path), read_valid(path))

    def refuse_other_depth(self, path: Path) -> None:
        """Refuse (UserError) a picture file of another depth, by its header where that tells."""
        if picture_bits(path) != self.bits:
            self.apply(read_picture(path), path)

    def apply(self, image: Picture, path: Path | None = None) -> NDArray[np.uint8]:
        """Scale a picture, (H, W) or (H, W, 3), to uint8 (H, W) for one channel, (H, W, 3) for three.

        Parameters
        ----------
        image : uint8, uint16 or float32 (H, W) or (H, W, 3)
        path : Path, optional
            The file that a refusal names.

        Returns
        -------
        uint8 (H, W) or (H, W, 3)
            NaN becomes 0; infinite values become 0 or 255.

        Raises
        ------
        UserError
            If the picture has another depth than those that the scaling was found from.
        """
        bits = bits_of(image)
        # Grey levels up to 255 mean the same with 16 bits.
        same_levels = (self.bits, bits) == (8, 16) and int(image.max()) <= WHOLE_RANGE[1]
        if bits != self.bits and not same_levels:
            raise UserError(
                f"{path or 'A picture'} has {depth_name(bits)}, but the grey levels were scaled for pictures "
                f"of {depth_name(self.bits)}: save it like those, so that a grey level means the same "
                "everywhere."
            )
        array: NDArray[np.generic] = image
        if self.channels == 1 and array.ndim == 3:
            array = array[..., 0] if is_grey(image) else image.astype(np.float32).mean(axis=2)
        elif self.channels == 3 and array.ndim == 2:
            array = np.repeat(array[..., None], 3, axis=2)
        if array.dtype == np.uint8 and (self.low, self.high) == WHOLE_RANGE:
            return np.ascontiguousarray(array, dtype=np.uint8)
        # The range of floating-point numbers may be as narrow as it likes, but not empty.
        scaled = (array.astype(np.float32) - self.low) * (255.0 / ((self.high - self.low) or 1.0))
        levels: NDArray[np.float32] = np.nan_to_num(scaled.round().clip(0, 255))
        return levels.astype(np.uint8)


def bits_of(image: Picture) -> int:
    """Bits of a picture's grey levels: 8, 16, or 32 for floating point."""
    return FLOATING if image.dtype.kind == "f" else image.itemsize * 8


def _usual_bits(low: float, high: float) -> int:
    return 8 if (low, high) == WHOLE_RANGE else 16


def depth_name(bits: int) -> str:
    """Words for a depth: "8 bits", "16 bits" or "32 bits (floating point)"."""
    return f"{bits} bits (floating point)" if bits == FLOATING else f"{bits} bits"


def is_grey(image: Picture, valid: NDArray[np.bool_] | None = None) -> bool:
    """Whether a picture has one channel, or three that are the same at pixels with data."""
    if image.ndim == 2:
        return True
    same = (image[..., 0] == image[..., 1]) & (image[..., 1] == image[..., 2])
    return bool((same if valid is None else same[valid]).all())


def fit_scaling(survey: Survey) -> GreyScaling:
    """Find a survey's scaling from a bounded sample of its train tiles.

    8-bit tiles stay as they are; deeper ones are scaled between the 0.5 and 99.5 percentiles of their
    pixels with data.

    Raises
    ------
    UserError
        If the train split is empty, holds tiles of several depths, or no pixel with data.
    """
    tiles = survey.splits["train"]
    if not tiles:
        raise UserError(f"{survey.root}: the train split is empty: list its tiles in splits/train.txt.")
    return scaling_of([survey.image_path(tile) for tile in tiles])


def scaling_of(pictures: Sequence[Path]) -> GreyScaling:
    """Find the scaling of picture files from a bounded sample of them; see `fit_scaling`.

    Raises
    ------
    UserError
        If pictures of several depths are mixed, or hold no pixel with data.
    """
    count = len(pictures)
    chosen = [pictures[i] for i in np.linspace(0, count - 1, min(SAMPLE, count)).astype(int)]
    generator = np.random.default_rng(0)
    grey = True
    depths: dict[int, Path] = {}
    values: list[NDArray[np.generic]] = []
    for path in chosen:
        picture, valid = read_picture(path), read_valid(path)
        grey = grey and is_grey(picture, valid)
        depths.setdefault(bits_of(picture), path)
        if picture.dtype != np.uint8:
            # Drawn at random: a regular step through the rows would meet the same columns again and again.
            flat = picture.ravel() if valid is None else picture[valid].ravel()
            values.append(flat[generator.integers(max(1, flat.size), size=min(PIXELS, flat.size))])
    if (mixed := mixed_depths(depths)) is not None:
        raise UserError(mixed)
    channels: Literal[1, 3] = 1 if grey else 3
    if not values:
        return GreyScaling(channels=channels)
    sample = np.concatenate(values)
    if not sample.size:
        raise UserError(
            f"{chosen[0]} and the other pictures hold no pixel with data: list tiles with data, or correct "
            "the no-data tag."
        )
    low, high = (float(value) for value in np.percentile(sample, PERCENTILES))
    bits: Literal[16, 32] = FLOATING if FLOATING in depths else 16
    # Whole numbers are at least 1 apart; a single value has no range to stretch.
    least = 1.0 if bits == 16 or high <= low else 0.0
    return GreyScaling(low=low, high=max(high, low + least), channels=channels, bits=bits)


def mixed_depths(examples: Mapping[int, Path]) -> str | None:
    """Sentence on pictures of several depths, a picture for the bits of each; None if there is one depth."""
    if len(examples) < 2:
        return None
    few, many = min(examples), max(examples)
    return (
        f"{examples[few]} has {depth_name(few)} but {examples[many]} has {depth_name(many)}: "
        "save all tiles alike, so that a grey level means the same everywhere."
    )
