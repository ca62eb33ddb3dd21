"""Machine code on disk: made anew when a compiled source changes, announced only where it is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

import sonarseg.densecrf
from sonarseg.densecrf import compiled, engine, numba_engine
from sonarseg.densecrf.compiled import sources_hash

FOLDER = next(iter(sonarseg.densecrf.__path__))

PROGRAM = """
import numpy as np
from sonarseg.densecrf.unary import _seed_energy
energy = _seed_energy(np.ones((2, 3), np.float32), -1, np.float32(0), np.float32(1), np.float32(2))
print(energy.sum(), sum(_seed_energy.stats.cache_hits.values()))
"""


def test_the_hash_follows_every_compiled_source(tmp_path):
    copy = shutil.copytree(FOLDER, tmp_path / "densecrf", ignore=shutil.ignore_patterns("__pycache__"))
    assert sources_hash(copy) == sources_hash(Path(FOLDER))
    for name in ("vector.py", "numba_lattice.py", "numba_mean_field.py", "history.py", "unary.py"):
        before = sources_hash(copy)
        (copy / name).write_text((copy / name).read_text() + "\n# changed\n")
        assert sources_hash(copy) != before


def test_a_change_of_another_source_leaves_the_old_machine_code_alone(tmp_path):
    """vector.py changes; a function of unary.py, whose own file did not, is compiled anew."""
    root = tmp_path / "sonarseg"
    shutil.copytree(
        Path(FOLDER).parent, root, ignore=shutil.ignore_patterns("__pycache__", "network", "training")
    )

    def run():
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    assert run() == ["9.0", "0"]
    assert run() == ["9.0", "1"]
    vector = root / "densecrf" / "vector.py"
    vector.write_text(vector.read_text() + "\n# changed\n")
    assert run() == ["9.0", "0"]


def test_where_nothing_can_be_written_it_is_compiled_all_the_same(tmp_path):
    root = tmp_path / "sonarseg"
    left_out = shutil.ignore_patterns("__pycache__", "network", "training")
    shutil.copytree(Path(FOLDER).parent, root, ignore=left_out)
    # Files in the place of folders stop root, too.
    blocked = root / "densecrf" / "__pycache__"
    blocked.touch()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": "", "HOME": str(blocked)}
    environment.pop("XDG_CACHE_HOME", None)
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["9.0", "0"]


def test_sources_that_moved_are_not_noted_as_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "cache_folder", lambda: tmp_path)
    compiled.note_compiled("this")
    assert compiled.compiled_before("this")
    monkeypatch.setattr(compiled, "_HERE", tmp_path / "elsewhere")
    assert not compiled.compiled_before("this")


def test_the_wait_is_told_only_where_there_is_one(monkeypatch):
    told = []

    def progress(what, done, total, note=""):
        told.append((done, total))

    numba_engine.compile_engine(1)
    engine.make_ready(engine.DEFAULT_ENGINE, 1, progress)
    assert not told
    assert not numba_engine.is_compiled(1, 250)
    monkeypatch.setattr(numba_engine, "is_compiled", lambda *_: False)
    engine.make_ready(engine.DEFAULT_ENGINE, 1, progress)
    assert told == [(0, 1), (1, 1)]


def test_what_studies_call_is_compiled_beforehand():
    from sonarseg.densecrf.history import _count, confusion_histories
    from sonarseg.densecrf.parameters import CrfParameters
    from sonarseg.densecrf.tile import CrfTile
    from sonarseg.densecrf.unary import _seed_energy

    numba_engine.compile_engine(1)
    before = len(_count.signatures), len(_seed_energy.signatures)
    mapped = np.zeros((9, 9), np.uint8)
    mapped.setflags(write=False)
    for kind in (np.float16, np.float32):
        for mask in (mapped, mapped.copy()):
            tile = CrfTile(np.random.default_rng(0).random((3, 9, 9)).astype(kind), mapped)
            ids = np.arange(3, dtype=np.uint8)
            confusion_histories([tile], [mask], [ids], CrfParameters(), 2, 3, engine.DEFAULT_ENGINE)
    assert (len(_count.signatures), len(_seed_energy.signatures)) == before
    assert compiled.compiled_before("1-channels-4-lanes")
