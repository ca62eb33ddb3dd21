"""Studies in a file are worked on by one machine at a time: its workers give signs of life beside it."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sonarseg.errors import UserError
from sonarseg.progress import Progress, silent
from studies.server_address import ServerAddress
from studies.workspace import Workspace

SIGN = ".at-work"
BEAT_SECONDS = 10.0
# A machine that has given no sign for so long works here no more.
STALE_SECONDS = 30.0
_log = logging.getLogger(__name__)


@contextmanager
def only_machine(workspace: Workspace, progress: Progress = silent) -> Iterator[None]:
    """Give signs of life as long as the block lasts, where the studies are in a file.

    Trials of another machine could not be told from those whose program has ended, and SQLite's
    write-ahead log, which needs memory that all writers share, could be damaged.

    Raises
    ------
    UserError
        Where another machine gives signs of life.
    """
    if isinstance(workspace.database, ServerAddress):
        yield
        return
    path = workspace.root / SIGN
    with workspace.alone(progress):
        _refuse_another(path)
        _give_sign(path)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            try:
                _give_sign(path)
            except OSError as error:
                _log.warning("a sign of life was not written: %s", error)

    thread = threading.Thread(target=beat, name="signs of life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        # Other workers of this machine write theirs again.
        path.unlink(missing_ok=True)


def _refuse_another(path: Path) -> None:
    try:
        age = time.time() - path.stat().st_mtime
        host = json.loads(path.read_text(encoding="utf-8"))["host"]
    except (FileNotFoundError, ValueError):
        # Nobody, or a sign that is being written by this machine's other worker
        return
    if host != socket.gethostname() and age < STALE_SECONDS:
        raise UserError(
            f"{path.parent} is worked on by the machine {host} (last sign of life {max(0, age):.0f} s ago), "
            "and studies in a file are for one machine at a time: let several share a PostgreSQL server (see "
            f"docs/cluster.md), or try again in {STALE_SECONDS:.0f} s if it has ended there."
        )


def _give_sign(path: Path) -> None:
    path.write_text(json.dumps({"host": socket.gethostname()}), encoding="utf-8")
