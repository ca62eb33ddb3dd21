"""Stories: a module counts if it calls on into another one, a number is followed through what holds it."""

import re

import story_length

from objectives.space import named_crf_settings
from reports.style.formatting import score


def test_a_module_counts_if_it_calls_on() -> None:
    trace = story_length.Trace()
    with trace.on():
        named_crf_settings(1, has_background=False)
        score(0.5)
    assert "objectives.space" in trace.entered
    assert "sonarseg.densecrf.published" in trace.entered
    # It calls sonarseg only, the library below, and `score` calls nothing of another module.
    assert trace.steps() == []


def test_a_number_is_followed_through_texts_and_lists() -> None:
    shown = re.compile(r"(?<![\d.])0\.500(?!\d)")
    trace = story_length.Trace(lambda found: story_length.holds(found, 0.5, shown))
    with trace.on():
        score(0.25)
    assert not trace.entered
    with trace.on():
        score(0.5)
    assert list(trace.entered) == ["reports.style.formatting"]
    assert story_length.holds({"a": [(1, "mIoU 0.500")]}, 0.5, shown)
    assert not story_length.holds("mIoU 10.5001", 0.5, shown)
