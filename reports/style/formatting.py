"""How numbers and foreign text are written, the same in the page, the figures and the notes."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from sonarseg.files.plain_text import plain

MISSING = "–"
MINUS = "−"
# what Markdown reads as markup, and what makes a bare address a link
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~$^=:@-]|(?<=www)\.)", re.IGNORECASE)

METRIC_MEANINGS = {
    "miou_multiclass": "tiles with two or more classes in the truth; mean over classes of summed counts",
    "miou": "all tiles; mean over the classes present, of summed counts",
    "miou_paper": "the baseline's: mean over tiles and classes, a class absent from both counts as 1",
    "fwiou": "all tiles; classes weighted by their share of the true pixels",
    "pixel_accuracy": "all tiles; share of the valid pixels that are right",
}
PARAMETER_UNITS = {
    "sigma_alpha": "pixels",
    "sigma_beta": "grey levels",
    "sigma_gamma": "pixels",
}

PARAMETER_ORDER = (
    "loss",
    "gamma",
    "alpha",
    "rounds",
    "form",
    "binary_form",
    "presence_weight",
    "top_share",
    "object_top_share",
    "temperature",
    "warmup_rate",
    "warmup_epochs",
    "branch_channels",
    "local_statistics",
    "sigma_alpha",
    "sigma_beta",
    "sigma_gamma",
    "w_bilateral",
    "w_spatial",
    "iterations",
    "unary",
    "unary_scale",
    "gt_prob",
    "background_score",
    "guide",
)


def figure_text(text: object) -> str:
    """Make text fit for a plotly label, which would read tags in it; entities are shown as characters."""
    return html.escape(plain(text), quote=False)


def markdown_text(text: object) -> str:
    """Make text fit for a Markdown note: neither HTML nor Markdown is read in it."""
    return html.escape(_MARKDOWN.sub(r"\\\1", plain(text)), quote=False)


def score(value: float | None) -> str:
    """Write a share such as a mIoU, with three decimals."""
    return MISSING if value is None or math.isnan(value) else f"{value:.3f}"


def class_score(value: float | None) -> str:
    """Write the IoU of a class, which is not scored if neither masks nor predictions hold it."""
    return "not scored" if value is None else score(value)


def difference(value: float | None) -> str:
    """Write a signed difference of two shares, with three decimals."""
    if value is None or math.isnan(value):
        return MISSING
    return f"{value:+.3f}".replace("-", MINUS)


def percent(value: float | None) -> str:
    """Write a share as a percentage with one decimal."""
    return MISSING if value is None or math.isnan(value) else f"{100 * value:.1f}"


def interval(low: float, high: float) -> str:
    """Write the ends of an interval of differences, or a dash where it is undefined."""
    if math.isnan(low) or math.isnan(high):
        return MISSING
    return f"{difference(low)} to {difference(high)}"


def parameter(value: object) -> str:
    """Write a parameter's value: three significant digits, or the word itself."""
    if value is None:
        return MISSING
    if isinstance(value, float):
        return f"{value:.3g}"
    return plain(value)


def seconds(value: float | None) -> str:
    """Write a duration in the unit that suits it."""
    if value is None or math.isnan(value):
        return MISSING
    if value < 1:
        return f"{value * 1000:.{1 if 0 < value < 0.1 else 0}f} ms"
    if value < 120:
        return f"{value:.1f} s"
    if value < 7200:
        return f"{value / 60:.1f} min"
    return f"{value / 3600:.1f} h"


def moment(time: str) -> str:
    """Write a stored time (ISO 8601) as a person reads it, in UTC; anything else as it stands."""
    try:
        parsed = datetime.fromisoformat(time)
    except ValueError:
        return plain(time)
    return f"{parsed.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if parsed.tzinfo else f"{parsed:%Y-%m-%d %H:%M}"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """Write a number with its noun."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def listing(words: list[str]) -> str:
    """Join words as in a sentence."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else ""


def number_ranges(numbers: Iterable[int]) -> str:
    """Write numbers as a person does: "0 to 4, 6 and 8"."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][-1] == number - 1:
            ranges[-1][1:] = [number]
        else:
            ranges.append([number])
    return listing([" to ".join(map(str, each)) for each in ranges])


def ordered(names: Iterable[str]) -> list[str]:
    """Sort parameter names in the order of the energy: kernels, weights, iterations, unary, the rest."""
    found = set(names)
    known = [name for name in PARAMETER_ORDER if name in found]
    return known + sorted(found - set(known))


def finite(value: object) -> float | None:
    """Give a number to draw, or None where there is none (JSON knows no NaN)."""
    if not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
