"""Studies in a file are worked on by one machine at a time: its programs give signs of life beside it."""

from __future__ import annotations

import json
import logging
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sonarseg.errors import UserError
from sonarseg.processes.identity import is_alive, is_of_this_machine, process_identity
from studies.server_address import ServerAddress
from studies.workspace import Workspace, unwritable

# Names of signs of life begin like this. Each program has one of its own: its end takes no other's away.
SIGN = ".at-work"
BEAT_SECONDS = 10.0
# A machine that has given no sign for so long works here no more.
STALE_SECONDS = 30.0
_log = logging.getLogger(__name__)


@contextmanager
def only_machine(workspace: Workspace) -> Iterator[None]:
    """Give signs of life as long as the block lasts, if the studies are in a file.

    Whatever writes into the studies is done inside such a block. Trials of another machine could not be told
    from those whose program has ended, and SQLite's write-ahead log, which needs memory that all writers
    share, could be damaged. Containers count as machines: they do not see each other's processes.

    Raises
    ------
    UserError
        If another machine gives signs of life, or none can be written.
    """
    if isinstance(workspace.database, ServerAddress):
        yield
        return
    path = workspace.root / f"{SIGN}-{uuid.uuid4().hex}"
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            try:
                _give_sign(path)
            except OSError as error:
                _log.warning("a sign of life was not written: %s", error)

    thread = threading.Thread(target=beat, name="signs of life", daemon=True)
    try:
        try:
            _give_sign(path)
        except OSError as error:
            raise unwritable(workspace.root, error) from error
        # Only now: of two machines that begin at once, at least one sees the other.
        _refuse_another(path)
        thread.start()
        yield
    finally:
        ended.set()
        if thread.is_alive():
            thread.join()
        path.unlink(missing_ok=True)


def is_worked_on(root: Path) -> bool:
    """Whether a program gives signs of life in a workspace.

    Parameters
    ----------
    root : Path
        Folder of the workspace. A sign of another machine counts however old it is.
    """
    for path in root.glob(f"{SIGN}*"):
        try:
            identity: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except ValueError:
            # Its program has just begun.
            return True
        if not is_of_this_machine(identity) or is_alive(identity):
            return True
    return False


def _give_sign(path: Path) -> None:
    try:
        os.utime(path)
    except FileNotFoundError:
        path.write_text(json.dumps(process_identity(os.getpid())), encoding="utf-8")


def _refuse_another(own: Path) -> None:
    """Refuse to work beside another machine; signs that are out of date are removed.

    Ages are differences of times that the file system itself has noted: clocks of machines differ.
    """
    now = own.stat().st_mtime
    for path in own.parent.glob(f"{SIGN}*"):
        try:
            age = now - path.stat().st_mtime
            identity: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            # Its program has ended meanwhile, or has just begun and will see this one's sign.
            continue
        if age > STALE_SECONDS:
            path.unlink(missing_ok=True)
        elif not is_of_this_machine(identity):
            raise UserError(
                f"{own.parent} is worked on by {_called(identity)} "
                f"(last sign of life {max(0, age):.0f} s ago), "
                "and studies in a file are for one machine at a time: let several share a PostgreSQL "
                f"server (see docs/cluster.md), or try again in {STALE_SECONDS:.0f} s if it has ended there."
            )


def _called(identity: dict[str, Any]) -> str:
    """Name a machine; one that has this one's host name is another container, or a clone."""
    host = str(identity["host"])
    same = host == process_identity(os.getpid())["host"]
    return f"another machine or container called {host} too" if same else f"the machine {host}"
