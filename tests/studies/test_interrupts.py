"""Signals from outside: the first one clears up, none is lost, and what was ignored stays ignored."""

import os
import signal
import threading
import time
import weakref

import pytest

from studies.interrupts import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_interrupts_and_the_next_do_not_disturb(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    cleared_up = False
    with pytest.raises(KeyboardInterrupt), interruptible():
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), number)
            cleared_up = True
    assert cleared_up
    assert signal.getsignal(number) is before


class Thing:
    """Something that a weak reference can point at."""


def test_a_signal_that_python_drops_comes_again() -> None:
    cleared_up = False
    with pytest.raises(KeyboardInterrupt), interruptible():
        try:
            thing = Thing()
            watched = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM))
            del thing
            assert watched() is None
            time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            cleared_up = True
    assert cleared_up


def test_a_dropped_signal_does_not_outlive_the_block() -> None:
    before = threading.active_count()
    with interruptible():
        thing = Thing()
        watched = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        del thing
    assert watched() is None
    time.sleep(0.2)
    assert threading.active_count() <= before


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
