"""Which process works on something, so that a later start can tell whether it still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any


def process_identity(pid: int) -> dict[str, Any]:
    """Host, PID, process start time and boot id, as far as the system gives them, which identify one process.

    Process ids are given out again; the start time tells a new process from the old one. Cloned machines and
    containers may share a host name; `machine` tells them apart.
    """
    here = {"host": socket.gethostname(), "machine": _machine()}
    return {**here, "pid": pid, "started": _start_time(pid)}


def is_of_this_machine(identity: dict[str, Any]) -> bool:
    """Whether a process, dead or alive, is one whose number this process can look up."""
    machine = identity.get("machine") or _machine()
    return bool(identity["host"] == socket.gethostname() and machine == _machine())


def is_alive(identity: dict[str, Any]) -> bool:
    """Whether a process lives.

    A workspace is worked on by one machine at a time, so a process of another machine (the workspace
    was copied, or a container started anew) counts as gone.
    """
    if not is_of_this_machine(identity):
        return False
    try:
        os.kill(identity["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    started = _start_time(identity["pid"])
    return started == identity["started"] and not _is_zombie(identity["pid"])


def _machine() -> str | None:
    """What numbers processes: a start of the kernel, and a container; None where it is not told."""
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{start} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def _status_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat behind the program's name, empty where the system has no /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _start_time(pid: int) -> str | None:
    # proc(5): starttime is field 22; two fields stand before those that are split here.
    fields = _status_fields(pid)
    return fields[19] if fields else None


def _is_zombie(pid: int) -> bool:
    fields = _status_fields(pid)
    return bool(fields) and fields[0] == "Z"
