"""Numbers and words as the page writes them."""

from __future__ import annotations

import math

import pytest

from reports.figures.base import log_ticks, padded
from reports.style import formatting


def test_numbers() -> None:
    assert formatting.score(0.63149) == "0.631"
    assert formatting.score(None) == formatting.score(math.nan) == "–"
    assert formatting.difference(-0.0123) == "−0.012"
    assert formatting.difference(0.5) == "+0.500"
    assert formatting.interval(math.nan, 0.1) == "–"
    assert formatting.parameter(0.00123456) == "0.00123"
    assert formatting.parameter(7) == "7"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250 ms"), (4, "4.0 s"), (600, "10.0 min"), (9000, "2.5 h"), (None, "–")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert formatting.seconds(seconds) == text


def test_words() -> None:
    assert formatting.listing([]) == ""
    assert formatting.listing(["a"]) == "a"
    assert formatting.listing(["a", "b", "c"]) == "a, b and c"
    assert formatting.count(1, "class", "classes") == "1 class"
    assert formatting.count(2, "class", "classes") == "2 classes"
    assert formatting.ordered(["zeta", "guide", "sigma_alpha"]) == ["sigma_alpha", "guide", "zeta"]


def test_axes() -> None:
    assert log_ticks([0.01, 100])["ticktext"][-1] == "100"
    assert {"1", "2", "5", "10"} <= set(log_ticks([1, 12])["ticktext"])
    assert padded([0.2, 0.9]) == [pytest.approx(0.144), pytest.approx(0.956)]
    assert padded([0.0, 1.0]) == [0.0, 1.0]
