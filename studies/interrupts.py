"""Ends that come from outside: signals, and the death of the program that started this one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_LOOK_SECONDS = 0.5


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


def end_with_parent(parent: int) -> None:
    """Send this process SIGTERM once its parent is gone: a worker must not outlive its launcher.

    Again and again, for the first may only end what it is doing and leave it waiting for more.

    Parameters
    ----------
    parent : int
        Process id of the parent.
    """

    def look() -> None:
        waiting = threading.Event()
        while os.getppid() == parent:
            waiting.wait(_LOOK_SECONDS)
        while True:
            os.kill(os.getpid(), signal.SIGTERM)
            waiting.wait(_LOOK_SECONDS)

    threading.Thread(target=look, name="end-with-parent", daemon=True).start()
