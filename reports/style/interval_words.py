"""How an interval is put into words, the same for page, cards, tables, LaTeX, dashboard and terminal."""

from __future__ import annotations

import math

from reports.style.formatting import count, difference, interval, score
from sonarseg.metrics.bootstrap import FEWEST_SEEDS, FEWEST_STRIPS, Interval


def resampled(found: Interval, split: str) -> str:
    """Tell what the interval covers: "8 strips of val and 5 seeds resampled"."""
    strips = f"{count(found.strips, 'strip')} of {split}"
    seeds = f" and {count(found.seeds, 'seed')}" if found.seeds else ""
    return f"{strips}{seeds} resampled"


def why_none(found: Interval, split: str) -> str:
    """Tell why there is no interval."""
    match found.missing:
        case "no strips":
            return (
                "no interval: the survey names no strips, so neighbouring tiles may lie in different splits"
            )
        case "too few strips":
            return f"no interval: too few strips, {found.strips} of {split}; it takes {FEWEST_STRIPS}"
        case "too few seeds":
            number = {1: "one seed", 2: "two seeds"}.get(found.seeds, count(found.seeds, "seed"))
            return f"{number} per loss: the difference may be chance; an interval takes {FEWEST_SEEDS}"
        case "chosen here":
            return f"no interval: the same tiles of {split} chose what is compared"
        case _:
            return "no interval: the metric is undefined without some of the strips"


def scope(found: Interval, split: str) -> str:
    """Tell what the intervals of a table or figure cover, or why there are none."""
    return resampled(found, split) if found.known else why_none(found, split)


def covers(found: Interval, split: str) -> str:
    """Tell the interval and what it covers, or why there is none."""
    if not found.known:
        return why_none(found, split)
    ends = f"95 % interval {interval(found.low, found.high)}"
    return f"{ends}, {resampled(found, split)}"


def gain_sentence(found: Interval | None, split: str) -> str:
    """Put a difference and its interval into words.

    Parameters
    ----------
    found : Interval or None
        None if it cannot be computed.
    split : str
        The split on which both sides were scored.
    """
    if found is None or math.isnan(found.value):
        return "a difference that cannot be computed"
    size = score(abs(found.value))
    text = f"a gain of {size}" if found.value >= 0 else f"{size} worse"
    verdict = "; it holds 0, so this may be chance" if found.known and not found.certain else ""
    return f"{text} ({covers(found, split)}{verdict})"


def search_sentence(found: Interval, split: str, among: str) -> str:
    """Tell what the search has gained, judged on strips left out of its choice.

    Parameters
    ----------
    among : str
        What was chosen among: settings that were proposed without a look at scores.
    """
    if not found.known:
        return f"What the search gains on tiles that did not choose is not known ({why_none(found, split)})."
    size = difference(found.value)
    verdict = "" if found.certain else "; it holds 0, so the search may have gained nothing"
    return (
        f"On strips that did not choose, the search gains {size} ({covers(found, split)}; chosen in "
        f"each draw among {found.settings} {among}{verdict})."
    )
