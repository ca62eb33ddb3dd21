"""How long work tells how far it is: a callback, so that no module prints by itself."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called after each step of a long piece of work."""

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """Take note that `done` of `total` steps of `what` are done; `note` holds the latest figures."""


def silent(what: str, done: int, total: int, note: str = "") -> None:
    """Show nothing."""
