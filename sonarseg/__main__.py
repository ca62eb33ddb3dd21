"""`python -m sonarseg RUN_DIR`: train what RUN_DIR/config.json describes, or go on with it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType

from sonarseg.errors import UserError

DONE, WRONG_INPUT, FAILED, INTERRUPTED, TERMINATED = 0, 2, 3, 130, 143


class _Terminated(BaseException):
    """SIGTERM came; the last epoch's checkpoint is on disk already."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def _print_progress(what: str, done: int, total: int, note: str = "") -> None:
    if what == "training":
        print(f"epoch {done}/{total}: {note}", flush=True)


def main(arguments: list[str]) -> int:
    """Run one run folder and return the exit code."""
    if len(arguments) != 1:
        print("usage: python -m sonarseg RUN_DIR", file=sys.stderr)
        return WRONG_INPUT
    run_dir = Path(arguments[0])
    signal.signal(signal.SIGTERM, _terminate)
    from sonarseg.training.record import log
    from sonarseg.training.run import run
    from sonarseg.training.trainer import RunFailed

    try:
        run(run_dir, _print_progress)
    except UserError as error:
        return _end(run_dir, str(error), WRONG_INPUT)
    except RunFailed as error:
        return _end(run_dir, str(error), FAILED)
    except OSError as error:
        return _end(run_dir, f"{error.strerror or error}: {error.filename or run_dir}.", WRONG_INPUT)
    except KeyboardInterrupt:
        log(run_dir, "interrupted")
        return _end(run_dir, "stopped; the same command goes on from the last whole epoch.", INTERRUPTED)
    except _Terminated:
        log(run_dir, "ended by SIGTERM")
        return TERMINATED
    return DONE


def _end(run_dir: Path, sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
