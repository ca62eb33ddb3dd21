"""Class colours stay apart for every eye, measured by CIEDE2000 on simulated colour vision."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sonarseg.class_colours import NO_DATA_RGB, WELL_SEPARATED, class_colour, class_rgb, colour_table

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
VISIONS = {
    "normal": np.eye(3),
    "no red cones": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]
Floats = NDArray[np.float64]


def lab(rgb: Floats, vision: str) -> Floats:
    """CIELAB (N, 3) of bytes (N, 3), as this colour vision sees them."""
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(VISIONS[vision]).T, 0, 1)
    xyz = seen @ np.array(TO_XYZ).T / [0.95047, 1, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def ciede2000(first: Floats, second: Floats) -> Floats:
    """Difference of CIELAB colours (..., 3) (Sharma, Wu and Dalal, 2005)."""
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0)
    chroma = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(chroma / (chroma + 25.0**7))
    c1, c2 = np.hypot(a1 * stretch, b1), np.hypot(a2 * stretch, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a * stretch)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = np.where(c1 * c2 == 0, 0, (h2 - h1 + 180) % 360 - 180)
    hue_step = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2)
    light, c = (l1 + l2) / 2, (c1 + c2) / 2
    hue = np.where(c1 * c2 == 0, h1 + h2, (h1 + turn / 2) % 360)

    def cosine(degrees: Floats) -> Floats:
        return np.asarray(np.cos(np.radians(degrees)))

    t = 1 - 0.17 * cosine(hue - 30) + 0.24 * cosine(2 * hue)
    t += 0.32 * cosine(3 * hue + 6) - 0.2 * cosine(4 * hue - 63)
    x = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    y = (c2 - c1) / (1 + 0.045 * c)
    z = hue_step / (1 + 0.015 * c * t)
    rotation = (
        -2 * np.sqrt(c**7 / (c**7 + 25.0**7)) * np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    )
    return np.asarray(np.sqrt(x * x + y * y + z * z + rotation * y * z))


def least_difference(colours: Floats, vision: str) -> float:
    seen = lab(colours, vision)
    differences = ciede2000(seen[:, None], seen[None])
    return float(differences[np.triu_indices(len(colours), 1)].min())


def test_the_measure_is_ciede2000() -> None:
    """Three pairs of the table that its authors published for tests of implementations."""
    first = np.array([[50.0, 2.6772, -79.7751], [50.0, 2.5, 0.0], [60.2574, -34.0099, 36.2677]])
    second = np.array([[50.0, 0.0, -82.7485], [73.0, 25.0, -18.0], [60.4626, -34.1751, 39.4387]])
    np.testing.assert_allclose(ciede2000(first, second), [2.0425, 27.1492, 1.2644], atol=1e-4)


@pytest.mark.parametrize(("number", "normal", "others"), [(8, 20, 10), (WELL_SEPARATED, 15, 9)])
def test_any_two_classes_and_no_data_stay_apart(number: int, normal: float, others: float) -> None:
    colours = np.array([*(class_rgb(index) for index in range(number)), NO_DATA_RGB], dtype=float)
    for vision in VISIONS:
        assert least_difference(colours, vision) >= (normal if vision == "normal" else others), vision


def test_every_id_has_a_colour_of_its_own_that_stays() -> None:
    table = colour_table()
    assert table.shape == (256, 3)
    assert len({class_colour(index) for index in range(40)}) == 40
    assert [class_colour(index) for index in range(3)] == ["#0072b2", "#e69f00", "#009e73"]
    assert table[1].tolist() == [0xE6, 0x9F, 0x00]
    assert tuple(table[255].tolist()) == NO_DATA_RGB
