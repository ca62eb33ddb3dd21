"""Run the command line, in a process of its own or here, and see how it ends."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from studies.main import app

SONARSEG = Path(sys.executable).with_name("sonarseg")
BUDGET = {
    # A process that loads pretrained weights takes seconds: tests/end_to_end/test_frozen_study.py does.
    "encoder": '"resnet18"',
    "weights": '"none"',
    "encoder_training": '"end-to-end"',
    "stages": "2",
    "output_stride": "8",
    "loss": '"binary"',
    "form": '"tile-max"',
    "head_factor": "3.0",
    "ema_epochs": "0.0",
    "restart_each_round": "false",
    "labels_from": '"cam"',
    "decoder_channels": "16",
    "tile_scale": "1.0",
    "scales": "[1.0]",
    "warmup_epochs": "1",
    "rounds": "2",
    "epochs_per_round": "1",
    "device": '"cpu"',
}
TRIALS = {"crf": 6, "loss": 4}


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    def sentence(self) -> str:
        """The one line of the standard error, of a command that was refused."""
        assert self.code == 2, self
        assert "Traceback" not in self.err
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


def _heed_ctrl_c() -> None:
    # A shell starts background jobs with Ctrl-C ignored, and their children inherit it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    assert SONARSEG.is_file(), f"{SONARSEG} is missing: install the project with `make install`"
    return subprocess.Popen(
        [SONARSEG, *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_ctrl_c,
        env=os.environ | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> Outcome:
    out, err = process.communicate(timeout=280)
    return Outcome(process.returncode, out, err)


def sonarseg(*arguments: object, cwd: Path) -> Outcome:
    return finish(start(*arguments, cwd=cwd))


def done(*arguments: object, cwd: Path) -> str:
    outcome = sonarseg(*arguments, cwd=cwd)
    assert outcome.code == 0, outcome.err
    return outcome.out


def sonarseg_here(*arguments: object, cwd: Path) -> Outcome:
    """Run a command inside this process, which has imported torch already."""
    with chdir(cwd):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


def done_here(*arguments: object, cwd: Path) -> str:
    outcome = sonarseg_here(*arguments, cwd=cwd)
    assert outcome.code == 0, outcome.err
    return outcome.out


def wait_for(condition: Callable[[], bool], seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def shrink(study_toml: Path) -> None:
    """Cut the budget of a study.toml down to some seconds."""
    text = study_toml.read_text()
    for field, value in BUDGET.items():
        text, count = re.subn(rf"(?m)^{field} = \S+( [\d.]+\]?,?)*", f"{field} = {value}", text)
        assert count == 1, field
    for section, trials in TRIALS.items():
        text, count = re.subn(rf"(?s)(\n\[{section}\].*?\ntrials = )\d+", rf"\g<1>{trials}", text)
        assert count == 1, section
    study_toml.write_text(text)
