"""Progress callback protocol: long work calls it, and no module prints by itself."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called when a long piece of work begins and after each step of it."""

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """Take note that `done` of `total` steps of `what` are done; `note` holds the latest figures.

        A `total` of 0 tells that work begins whose steps are not counted.
        """


def silent(what: str, done: int, total: int, note: str = "") -> None:
    """Show nothing."""
