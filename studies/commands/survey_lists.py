"""What `sonarseg init` writes into a survey: strips that the names tell, and the splits."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sonarseg.survey.layout import Survey
from sonarseg.survey.lists import find_pictures
from sonarseg.survey.splits.lists import make_splits, write_splits
from sonarseg.survey.splits.strips_from_names import strips_from_names, write_groups
from studies.commands.options.strips import StripsChoice
from studies.commands.terminal import console
from studies.commands.terminal.console import say

_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}


def settle_strips(
    survey: Survey,
    choice: StripsChoice | None,
    ask: Callable[[str], bool] | None = None,
) -> bool:
    """Write groups.csv from the names of the tiles, if they tell strips and the person agrees; say whether.

    Parameters
    ----------
    choice : StripsChoice or None
        None asks; without a terminal it is "none".
    ask : callable, optional
        Asks a question; by default on the terminal.
    """
    if survey.groups or (survey.root / "groups.csv").is_file() or choice == "none":
        return False
    strips = strips_from_names(survey.images)
    if not strips:
        if choice == "from-names":
            say("The names of the tiles do not count along six lines or more: no strips were written.")
        return False
    count, example = len(set(strips.values())), next(iter(strips))
    found = f"The names of {len(strips)} tiles count along {count} lines ({example} is of {strips[example]})"
    if choice is None:
        if ask is None and not sys.stdin.isatty():
            say(f"{found}: --groups from-names takes them as strips, which stay in one split.")
            return False
        if not (ask or console.ask)(f"{found}. Take them as strips, which stay in one split?"):
            return False
    with _unless_read_only(survey):
        say(f"{count} strips, taken from the names: {write_groups(survey.root, strips)}")
        return True
    return False


def settle_splits(survey: Survey, *, made: bool, resplit: bool) -> None:
    """Write the splits that were made, so that tiles added later do not change them.

    Parameters
    ----------
    made : bool
        Whether the survey has no lists of its own.
    resplit : bool
        Make all splits again; lists that are there are kept in `splits/before-N`.
    """
    if not (made or resplit):
        return
    masked = find_pictures(survey.root / "masks", []).keys() & survey.images.keys()
    splits = make_splits(
        list(survey.images), survey.groups, survey.labels, has_masks=bool(masked), masked=masked
    )
    with _unless_read_only(survey):
        write_splits(survey.root, splits, marked=True, replace=resplit)
        again = "" if made else " again; the lists before are in before-N there"
        counts = ", ".join(
            f"{sum(t in masked for t in splits[split])} in {split}" for split in ("val", "test")
        )
        told = f"; tiles with masks: {counts}" if masked else ""
        say(f"Splits were made{again}: {survey.root / 'splits'}{told}")
    if not masked:
        say("Without any mask, all labelled tiles are trained on, and nothing can be scored.")


@contextmanager
def _unless_read_only(survey: Survey) -> Iterator[None]:
    """Say that a survey cannot be written to, and go on."""
    try:
        yield
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        say(f"{survey.root} is read-only: strips and splits are not written, and made each time.")
