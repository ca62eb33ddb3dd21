"""A run that another program follows ends with it: it watches a pipe that only that program holds open.

The pipe closes however the program ends, SIGKILL included, so that the device is free again.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

# Environment variable: the number of the pipe's reading end, which the run inherits
PARENT_PIPE = "SONARSEG_PARENT_PIPE"
GRACE = 4.0


def watch_parent(on_end: Callable[[], None], grace: float = GRACE) -> bool:
    """End this process once the program that follows it is gone; False if no program follows it.

    First politely, as SIGTERM does; after `grace` seconds firmly, with all that it started.

    Parameters
    ----------
    on_end : callable
        Called in the watching thread when the program is gone.
    grace : float
        Seconds.
    """
    number = os.environ.pop(PARENT_PIPE, None)
    if number is None:
        return False
    threading.Thread(target=_watch, args=(int(number), on_end, grace), daemon=True).start()
    return True


def _watch(descriptor: int, on_end: Callable[[], None], grace: float) -> None:
    os.read(descriptor, 1)
    try:
        on_end()
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(grace)
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
