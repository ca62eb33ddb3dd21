"""Follow a run in a process of its own: its metrics as they come, and how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

from objectives.outcome import OutOfMemory, TrialFailed
from objectives.run_failure import (
    DEVICE_LOST,
    INTERRUPTED,
    OUTPUT,
    TERMINATED,
    WRONG_INPUT,
    ending,
    failure_kind,
)
from sonarseg.errors import DeviceLost, UserError
from sonarseg.files.run_metrics import METRICS, read_metrics
from sonarseg.files.whole import write_json
from sonarseg.processes.identity import is_alive, process_identity
from sonarseg.processes.parent_pipe import PARENT_PIPE
from sonarseg.processes.pool import PYTHON
from sonarseg.training.run_folder.record import FAILURE, SUMMARY, is_finished, read_summary

RUN_COMMAND = (*PYTHON, "-m", "sonarseg")
PROCESS = "process.json"
FOLLOWER = "follower"
OUT_OF_MEMORY = "out-of-memory"


@dataclass(frozen=True)
class Timing:
    """Seconds between two looks at the run, and from a polite signal to SIGKILL."""

    poll: float = 0.2
    grace: float = 20.0


DEFAULT_TIMING = Timing()


class StopRun(Exception):
    """Raised by a watcher to end the run; what it carries is raised once the process is gone.

    Parameters
    ----------
    because : Exception
        What is raised.
    summary_says : str, optional
        A summary is left that says so under `stopped`, and that the run is not finished.
    """

    def __init__(self, because: Exception, summary_says: str | None = None) -> None:
        super().__init__(str(because))
        self.because = because
        self.summary_says = summary_says


def follow_run(
    run_dir: Path,
    on_epoch: Callable[[dict[str, Any]], None],
    *,
    command: Sequence[str] = RUN_COMMAND,
    timing: Timing = DEFAULT_TIMING,
) -> dict[str, Any]:
    """Start the run of `run_dir`, or go on with it, and follow it to its end.

    The process leads a group of its own, so that its workers end with it. Ctrl-C, and SIGTERM to
    this program, are passed on and leave a run that the next call goes on with. However this program
    ends, the run ends within seconds of it: it watches a pipe that only this program holds open.

    Parameters
    ----------
    run_dir : Path
        A run folder with config.json.
    on_epoch : callable
        Given every line of metrics.jsonl once, those of an earlier start included. Raises `StopRun`
        to end the run; a run that has ended well by then is not stopped any more.
    command : sequence of str
        The program; `run_dir` is put behind it.
    timing : Timing
        How often to look, how long to wait.

    Returns
    -------
    dict
        The content of summary.json.

    Raises
    ------
    TrialFailed
        Where the run failed; the message is the reason. `OutOfMemory` where a smaller batch may help.
    UserError
        Where the run refused its input or could not write, or where another program follows it.
    DeviceLost
        Where the run lost its device.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, to this program or to the run, once the run has ended.
    """
    _end_leftover(run_dir, timing.grace)
    (run_dir / FAILURE).unlink(missing_ok=True)
    with (run_dir / OUTPUT).open("wb") as output, _sigterm_as_interrupt():
        process, pipe = _start(run_dir, command, output)
        try:
            followed = process_identity(process.pid) | {FOLLOWER: process_identity(os.getpid())}
            write_json(run_dir / PROCESS, followed)
            _watch(process, run_dir, on_epoch, timing.poll)
        except StopRun as stop:
            end_group(process, signal.SIGTERM, timing.grace)
            if stop.summary_says is not None and not is_finished(run_dir):
                _write_stopped(run_dir, stop)
            raise stop.because from None
        except KeyboardInterrupt:
            # Not SIGINT, which a run inherits as ignored from a worker that leaves Ctrl-C to its launcher.
            end_group(process, signal.SIGTERM, timing.grace)
            raise
        finally:
            end_group(process, signal.SIGTERM, timing.grace)
            os.close(pipe)
            (run_dir / PROCESS).unlink(missing_ok=True)
    if process.returncode == 0 and is_finished(run_dir):
        return read_summary(run_dir)
    if process.returncode in (INTERRUPTED, TERMINATED, -signal.SIGTERM):
        # A cluster that wants its machine back signals every process, and the run may be the first to end.
        raise KeyboardInterrupt
    reason, kind = ending(run_dir, process.returncode), failure_kind(run_dir)
    if kind == OUT_OF_MEMORY:
        raise OutOfMemory(reason)
    if process.returncode == DEVICE_LOST:
        raise DeviceLost(reason)
    if process.returncode == WRONG_INPUT:
        raise UserError(reason)
    raise TrialFailed(reason)


def _start(run_dir: Path, command: Sequence[str], output: BinaryIO) -> tuple[subprocess.Popen[bytes], int]:
    """Start the run; the number is the end of its pipe that tells it of this program's end."""
    theirs, ours = os.pipe()
    try:
        process = subprocess.Popen(
            [*command, str(run_dir)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(theirs,),
            env={**os.environ, PARENT_PIPE: str(theirs)},
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return process, ours


def _write_stopped(run_dir: Path, stop: StopRun) -> None:
    lines = read_metrics(run_dir)
    write_json(
        run_dir / SUMMARY,
        {"finished": False, "stopped": stop.summary_says, "reason": str(stop), "epochs": len(lines)},
    )


def _watch(
    process: subprocess.Popen[bytes], run_dir: Path, on_epoch: Callable[[dict[str, Any]], None], poll: float
) -> None:
    seen, stamp = 0, (0, 0)
    while True:
        try:
            ended = process.wait(timeout=poll) is not None
        except subprocess.TimeoutExpired:
            ended = False
        before, stamp = stamp, _stamp(run_dir / METRICS)
        if stamp != before or ended:
            for line in read_metrics(run_dir):
                if line["epoch"] <= seen:
                    continue
                seen = line["epoch"]
                try:
                    on_epoch(line)
                except StopRun:
                    if not is_finished(run_dir):
                        raise
        if ended:
            return


def _stamp(path: Path) -> tuple[int, int]:
    """Tell a file from what it was before something was added or it was replaced."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


def end_group(process: subprocess.Popen[bytes], polite: signal.Signals, grace: float) -> None:
    """End a process and all it started: a polite signal, and SIGKILL for whatever is left.

    The polite signal goes to the process alone: its workers would only litter its log.
    """
    if process.poll() is None:
        process.send_signal(polite)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=grace)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(leader: int, number: signal.Signals) -> None:
    """Signal a process group; one that has ended already needs no signal."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return


def _end_leftover(run_dir: Path, grace: float) -> None:
    """End a process that outlived the program which followed it: two must not write one folder.

    Raises
    ------
    UserError
        Where that program lives, and follows the run.
    """
    path = run_dir / PROCESS
    if not path.is_file():
        return
    identity = json.loads(path.read_text(encoding="utf-8"))
    follower = identity.get(FOLLOWER)
    if follower is not None and is_alive(follower) and is_alive(identity):
        raise UserError(
            f"{run_dir} is being trained by process {identity['pid']}, which process {follower['pid']} "
            "follows: wait for it, or end it first."
        )
    if is_alive(identity):
        _signal_group(identity["pid"], signal.SIGTERM)
        waiting = threading.Event()
        for _ in range(max(1, int(grace / 0.1))):
            if not is_alive(identity):
                break
            waiting.wait(0.1)
        _signal_group(identity["pid"], signal.SIGKILL)
    path.unlink(missing_ok=True)


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM to this program end the run as Ctrl-C does; signals reach the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
