"""A disk without room at any moment of a checkpoint: the one before stays whole, the run goes on later."""

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sonarseg.errors import UserError
from sonarseg.files.run_metrics import read_metrics
from sonarseg.training.checkpoint import files as checkpoint_files
from sonarseg.training.checkpoint.files import CHECKPOINT
from sonarseg.training.run import run
from tests.support.run_folders import Whole, results, write_run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of a few megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    size = "size=2m"
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", size, "none", str(folder)], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full_at_a_checkpoint(small_disk: Path, whole: Whole) -> None:
    config, undisturbed = whole
    size = (undisturbed / CHECKPOINT).stat().st_size
    subprocess.run(["mount", "-o", f"remount,size={4 * size}", str(small_disk)], check=True)
    run_dir = write_run(small_disk / "run", config)
    ballast = small_disk / "ballast"

    def fill(what: str, done: int, total: int, note: str = "") -> None:
        if what == "training" and done == 3:
            with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(4096))

    with pytest.raises(UserError, match=r"is full .* free some of it; the same command goes on"):
        run(run_dir, fill)
    assert len(read_metrics(run_dir)) == 3
    assert not list(run_dir.glob("*.partial"))
    ballast.unlink()
    run(run_dir)
    assert results(run_dir) == results(undisturbed)


def test_a_checkpoint_of_which_only_a_part_can_be_written(tmp_path: Path, whole: Whole) -> None:
    """By a limit on the size of files, which needs no file system of its own."""
    config, undisturbed = whole
    run_dir = write_run(tmp_path / "run", config)
    size = (undisturbed / CHECKPOINT).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(what: str, done: int, total: int, note: str = "") -> None:
        if what == "training" and done == 5:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, hard))

    try:
        with pytest.raises(UserError, match=r"is full .* free some of it; the same command goes on"):
            run(run_dir, limit)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(read_metrics(run_dir)) == 5
    assert not list(run_dir.glob("*.partial"))
    run(run_dir)
    assert results(run_dir) == results(undisturbed)


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_disk_that_fills_up_while_a_checkpoint_is_written(
    tmp_path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    config, undisturbed = whole
    run_dir = write_run(tmp_path / "run", config)
    original, calls = getattr(os, call), 0

    def full(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_files.os, call, full)
        with pytest.raises(UserError, match=r"disk of .* is full"):
            run(run_dir)
    assert not list(run_dir.glob("*.partial"))
    run(run_dir)
    assert results(run_dir) == results(undisturbed)
