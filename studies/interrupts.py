"""Ends that come from outside: the first signal clears up, the next ones do not disturb it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first SIGTERM or SIGINT into KeyboardInterrupt, and let no second one disturb the clearing up.

    Signals reach the main thread only; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal caught
        if not caught:
            caught = True
            raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
