"""Signals from outside: the first one clears up, none is lost, and what was ignored stays ignored."""

import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

from sonarseg.processes.signals import interruptible


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


def test_a_block_around_counts_the_interruption_as_its_own() -> None:
    with interruptible():
        with pytest.raises(KeyboardInterrupt), interruptible():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)


AFTERWARDS = """
import os, signal
from sonarseg.processes.signals import interrupted_once, interruptible
try:
    with interrupted_once(), interruptible():
        {inside}
except KeyboardInterrupt:
    print("interrupted", flush=True)
os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.parametrize(("inside", "said"), [("pass", ""), ("signal.raise_signal(2)", "interrupted\n")])
def test_ctrl_c_while_python_ends_is_silent(inside: str, said: str) -> None:
    command = [sys.executable, "-c", AFTERWARDS.format(inside=inside)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, said, "")
