"""Ends that come from outside: the first signal clears up, the next ones do not disturb it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

# Ctrl-C, a polite end (Slurm, a launcher), and a terminal or ssh connection that was closed
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN_SECONDS = 0.05


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into KeyboardInterrupt, and let no second one disturb it.

    A signal that was ignored before (SIGHUP under nohup, SIGINT in a worker) stays ignored. Signals reach
    the main thread only; elsewhere this does nothing.
    """
    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread() or not heeded:
        yield
        return
    caught = False
    again: list[threading.Timer] = []
    ended = threading.Lock()
    hook = sys.unraisablehook

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal caught
        if not caught:
            caught = True
            raise KeyboardInterrupt

    def resend() -> None:
        # The lock is held for good once the block is left: nobody would take the signal any more.
        if ended.acquire(blocking=False):
            os.kill(os.getpid(), heeded[0])
            ended.release()

    def dropped(unraisable: UnraisableHookArgs) -> None:
        # Python drops what is raised in a finaliser or in the callback of a weak reference.
        nonlocal caught
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            hook(unraisable)
            return
        caught = False
        again.append(threading.Timer(_AGAIN_SECONDS, resend))
        again[-1].start()

    before = {number: signal.signal(number, interrupt) for number in heeded}
    sys.unraisablehook = dropped
    try:
        yield
    finally:
        ended.acquire()
        for timer in again:
            timer.cancel()
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
