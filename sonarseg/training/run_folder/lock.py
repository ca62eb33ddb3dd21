"""One process a run folder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sonarseg.errors import UserError
from sonarseg.training.run_folder.record import log

LOCK = ".lock"


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Keep every other process from writing this run; the system lets go when this process ends.

    Raises
    ------
    UserError
        Where another process writes it; the sentence says which.
    """
    with (run_dir / LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise UserError(
                f"{run_dir} is being written by {_holder(file.read())}: wait for it, or end it first."
            ) from error
        except OSError as error:
            log(
                run_dir,
                f"this file system has no locks ({error.strerror}): start this run only once at a time",
            )
        file.seek(0)
        file.truncate()
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": since}, file)
        file.flush()
        yield


def _holder(text: str) -> str:
    try:
        holder = json.loads(text)
    except json.JSONDecodeError:
        return "another process"
    return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
