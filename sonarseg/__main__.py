"""`python -m sonarseg RUN_DIR`: train what RUN_DIR/config.json describes, or go on with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from sonarseg.errors import DeviceLost, UserError
from sonarseg.processes.parent_pipe import watch_parent
from sonarseg.training.run_folder.record import log

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

DONE, WRONG_INPUT, FAILED, DEVICE_LOST, INTERRUPTED, TERMINATED = 0, 2, 3, 4, 130, 143
_AGAIN_SECONDS = 0.05


class _Terminated(BaseException):
    """SIGTERM came; the last epoch's checkpoint is on disk already."""


def _terminate(number: int, frame: FrameType | None) -> None:
    # Once is enough: a second signal must not cut the ending short.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Terminated


@contextmanager
def _sigterm_ends_it() -> Iterator[None]:
    """Turn SIGTERM into `_Terminated`, sent again where Python drops it."""
    again: list[threading.Timer] = []
    hook = sys.unraisablehook

    def dropped(unraisable: UnraisableHookArgs) -> None:
        # Python drops what is raised in a finaliser or in the callback of a weak reference.
        if not issubclass(unraisable.exc_type, _Terminated):
            hook(unraisable)
            return
        signal.signal(signal.SIGTERM, _terminate)
        again.append(threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGTERM)))
        again[-1].start()

    signal.signal(signal.SIGTERM, _terminate)
    sys.unraisablehook = dropped
    try:
        yield
    finally:
        for timer in again:
            timer.cancel()
        sys.unraisablehook = hook


def _print_progress(what: str, done: int, total: int, note: str = "") -> None:
    if what == "training":
        print(f"epoch {done}/{total}: {note}", flush=True)
    elif note:
        print(note, flush=True)


def main(arguments: list[str]) -> int:
    """Run one run folder and return the exit code."""
    if len(arguments) != 1:
        print("usage: python -m sonarseg RUN_DIR", file=sys.stderr)
        return WRONG_INPUT
    run_dir = Path(arguments[0])
    try:
        with _sigterm_ends_it():
            watch_parent(lambda: log(run_dir, "the program that followed this run is gone"))
            return _train(run_dir)
    except KeyboardInterrupt:
        _log(run_dir, "interrupted")
        return _end("stopped; the same command goes on from the last whole epoch.", INTERRUPTED)
    except _Terminated:
        _log(run_dir, "ended by SIGTERM")
        return _end("ended by SIGTERM; the same command goes on from the last whole epoch.", TERMINATED)


def _train(run_dir: Path) -> int:
    from sonarseg.training.failures import RunFailed
    from sonarseg.training.run import run

    try:
        run(run_dir, _print_progress)
    except DeviceLost as error:
        return _end(str(error), DEVICE_LOST)
    except UserError as error:
        return _end(str(error), WRONG_INPUT)
    except RunFailed as error:
        return _end(str(error), FAILED)
    except OSError as error:
        return _end(f"{error.strerror or error}: {error.filename or run_dir}.", WRONG_INPUT)
    return DONE


def _log(run_dir: Path, sentence: str) -> None:
    """Note how the run ends, unless its folder is missing or the disk full; the person is told anyway."""
    with suppress(OSError):
        log(run_dir, sentence)


def _end(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
