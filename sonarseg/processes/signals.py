"""Ends that come from outside: the first signal clears up, the next ones do not disturb it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

# Ctrl-C, a polite end (Slurm, a launcher), and a terminal or ssh connection that was closed
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN_SECONDS = 0.05


class _Once:
    """Takes signals: the first one interrupts, the next ones do nothing."""

    def __init__(self) -> None:
        self.caught = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self.caught:
            self.caught = True
            raise KeyboardInterrupt


@contextmanager
def interruptible(signals: Sequence[signal.Signals] = SIGNALS) -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into KeyboardInterrupt, and let no second one disturb it.

    A signal that was ignored before (SIGHUP under nohup, SIGINT in a worker) stays ignored. Blocks around
    this one count its interruption as theirs. Signals reach the main thread only: elsewhere it does nothing.
    """
    heeded = [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread() or not heeded:
        yield
        return
    once = _Once()
    again: list[threading.Timer] = []
    ended = threading.Lock()
    hook = sys.unraisablehook

    def resend() -> None:
        # The lock is held for good once the block is left: nobody would take the signal any more.
        if ended.acquire(blocking=False):
            os.kill(os.getpid(), heeded[0])
            ended.release()

    def dropped(unraisable: UnraisableHookArgs) -> None:
        # Python drops what is raised in a finaliser or in the callback of a weak reference.
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            hook(unraisable)
            return
        once.caught = False
        again.append(threading.Timer(_AGAIN_SECONDS, resend))
        again[-1].start()

    before = {number: signal.signal(number, once) for number in heeded}
    sys.unraisablehook = dropped
    try:
        yield
    finally:
        ended.acquire()
        for timer in again:
            timer.cancel()
        sys.unraisablehook = hook
        for number, handler in before.items():
            if isinstance(handler, _Once):
                handler.caught = handler.caught or once.caught
            signal.signal(number, handler)


@contextmanager
def interrupted_once() -> Iterator[None]:
    """Let Ctrl-C interrupt the program once, as long as the block lasts; from then on it ends it silently.

    For the whole of a program: while Python ends, nothing is left that KeyboardInterrupt could clear up.
    """
    # As long as the block lasts this is replaced; afterwards there is no moment in which Python's own acts.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    with interruptible((signal.SIGINT,)):
        yield
