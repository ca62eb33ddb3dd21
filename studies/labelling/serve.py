"""Serves the labelling page on this machine alone until Ctrl-C."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn

from sonarseg.errors import UserError
from studies.labelling.app import make_app
from studies.labelling.guard import Keys
from studies.labelling.session import opened_session

_HOST = "127.0.0.1"


def serve_labelling(root: Path, port: int, say: Callable[[str], None]) -> None:
    """Serve the page of a survey until it is interrupted.

    Parameters
    ----------
    root : Path
        Folder of the survey.
    port : int
        Where to listen; 0 takes a free port.
    say : callable
        Given the address that opens the page.

    Raises
    ------
    UserError
        If the port is taken or the survey cannot be labelled.
    """
    with opened_session(root) as session, _listening(port) as listener:
        keys = Keys(listener.getsockname()[1], lambda address: say(f"for another browser: {address}"))
        config = uvicorn.Config(
            make_app(session, keys), log_level="warning", access_log=False, server_header=False, ws="none"
        )
        server = uvicorn.Server(config)
        # Not in this thread: Ctrl-C in the middle of a change would end the change alone.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            say(f"Labelling page of {session.name}: {keys.address} (stop with Ctrl-C)")
            thread.join()
        except KeyboardInterrupt:
            say("stopped; all labels are in the survey")
        finally:
            server.should_exit = True
            thread.join()


def _listening(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise UserError(
            f"{_HOST}:{port} cannot be listened on ({error.strerror}): choose another --port."
        ) from error
    return listener
