"""A function called in a process of its own: when it ends, so does all that it held, as a context of CUDA.

The process reports its steps over a pipe, and leaves what the function returned or raised in a file.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from sonarseg.errors import UserError
from sonarseg.processes.pool import PYTHON, end_with_parent
from sonarseg.processes.signals import interruptible
from sonarseg.progress import Progress, silent

Result = TypeVar("Result")
_CALL, _ANSWER = "call", "answer"
# A process that is asked to end gets so long to clear up.
_GRACE_SECONDS = 10.0


def apart(call: Callable[..., Result], progress: Progress = silent) -> Result:
    """Call a function in a process of its own, and wait for it.

    Parameters
    ----------
    call : callable
        Can be pickled, as a function of a module or a `functools.partial` of one; given `progress` by name.
    progress : Progress
        Called here with each step there.

    Returns
    -------
    object
        What the function returned.

    Raises
    ------
    UserError
        If the system killed the process.
    KeyboardInterrupt
        After Ctrl-C here or SIGTERM there, once the process has ended.
    BaseException
        Whatever else the function raised.
    """
    with TemporaryDirectory(prefix="sonarseg-") as folder:
        (Path(folder) / _CALL).write_bytes(pickle.dumps(call))
        ours, theirs = os.pipe()
        with os.fdopen(ours, encoding="utf-8") as steps:
            process = _start(folder, theirs)
            try:
                for line in steps:
                    progress(*json.loads(line))
                process.wait()
            finally:
                _end(process)
        answer = Path(folder) / _ANSWER
        if not answer.is_file():
            raise UserError(
                "A process that computed for this one was killed, as the system does when memory runs out: "
                "free some, and run the same command again."
            )
        returned, value = pickle.loads(answer.read_bytes())
    if not returned:
        raise value
    result: Result = value
    return result


def _start(folder: str, theirs: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [*PYTHON, "-m", "sonarseg.processes.apart", folder, str(theirs), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs,),
        )
    finally:
        os.close(theirs)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answered(call: Callable[..., Any], pipe: int) -> bytes:
    """Call the function; pickle whether it has returned, and what it returned or raised."""

    def tell(what: str, done: int, total: int, note: str = "") -> None:
        os.write(pipe, json.dumps([what, done, total, note]).encode() + b"\n")

    try:
        with interruptible((signal.SIGTERM,)):
            return pickle.dumps((True, call(progress=tell)))
    except BaseException as error:  # noqa: BLE001  raised again in the other process
        if not isinstance(error, UserError | KeyboardInterrupt):
            error.add_note(traceback.format_exc())
        return pickle.dumps((False, error))


def main(folder: Path, pipe: int, parent: int) -> None:
    """Make the call that lies in `folder`; Ctrl-C is left to the process that waits for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(pipe, False)
    end_with_parent(parent)
    answer = _answered(pickle.loads((folder / _CALL).read_bytes()), pipe)
    # Whoever waited may be gone, and the folder with it.
    with suppress(FileNotFoundError):
        (folder / (_ANSWER + ".partial")).write_bytes(answer)
        (folder / (_ANSWER + ".partial")).replace(folder / _ANSWER)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
