"""`sonarseg refine` in worker processes: Ctrl-C twice, and a parent that is killed."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from PIL import Image

TILES = 200


@pytest.fixture
def running(tmp_path):
    """The command with two pydensecrf workers in a process group of its own, some tiles done."""
    scores, images, out = tmp_path / "scores", tmp_path / "images", tmp_path / "out"
    scores.mkdir(), images.mkdir()
    generator = np.random.default_rng(0)
    for index in range(TILES):
        Image.fromarray(generator.integers(0, 256, (96, 96), dtype=np.uint8)).save(
            images / f"t{index:03}.png"
        )
        np.save(scores / f"t{index:03}.npy", generator.random((6, 96, 96), dtype=np.float32))
    program = "from studies.main import main; main()"
    arguments = ["refine", scores, images, out, "--engine", "pydensecrf", "--jobs", "2"]
    command = [sys.executable, "-c", program, *map(str, arguments), "--param", "iterations=60"]
    with subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(lambda: out.is_dir() and len(list(out.glob("*.png"))) >= 2, 60)
        yield process, out
        if group(process.pid):
            os.killpg(process.pid, signal.SIGKILL)


def wait_until(true, seconds):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def group(number):
    """Living processes of a process group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def test_ctrl_c_twice_ends_at_once_without_a_traceback(running):
    process, out = running
    assert len(group(process.pid)) >= 3
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    _, said = process.communicate(timeout=15)
    # The second may come when Python is ending: to the shell that is 130 too.
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in said and "Error" not in said
    wait_until(lambda: not group(process.pid), 10)
    for path in out.glob("*.png"):
        assert np.asarray(Image.open(path)).shape == (96, 96)
    assert len(list(out.glob("*.png"))) < TILES


def test_workers_end_with_a_killed_parent(running):
    process, _ = running
    process.kill()
    wait_until(lambda: not group(process.pid), 10)
