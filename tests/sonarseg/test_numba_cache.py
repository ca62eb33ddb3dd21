"""Machine code on disk: made anew when a compiled source changes, announced only where it is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

import sonarseg
from sonarseg import numba_cache
from sonarseg.densecrf.engines import base
from sonarseg.densecrf.engines.numba import counting
from sonarseg.densecrf.engines.numba import engine as numba_engine
from sonarseg.numba_cache import sources_hash

FOLDER = Path(next(iter(sonarseg.__path__)))
LEFT_OUT = shutil.ignore_patterns("__pycache__", "network", "training")

PROGRAM = """
import numpy as np
from sonarseg.densecrf.unary import _hard_seed_energy
energy = _hard_seed_energy(np.ones((2, 3), np.float32), -1, np.float32(0), np.float32(1), np.float32(2))
print(energy.sum(), sum(_hard_seed_energy.stats.cache_hits.values()))
"""

LOVASZ = """
import torch
from sonarseg.losses.lovasz_numba import slopes_by_rows
found = slopes_by_rows(torch.tensor([[[0.5], [0.5]]]), torch.tensor([[1]]), ignore_index=255, per_image=False)
print(found[0].flatten().tolist())
"""


def program_output(source: str, folder: Path, **environment: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder), **environment}
    environment.pop("XDG_CACHE_HOME", None)
    command = [sys.executable, "-c", source]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_hash_follows_every_compiled_source(tmp_path):
    copy = shutil.copytree(FOLDER, tmp_path / "sonarseg", ignore=LEFT_OUT)
    assert sources_hash(copy) == sources_hash(FOLDER)
    names = ("vector", "lattice", "mean_field", "simplex", "counting")
    sources = [copy / "densecrf" / "engines" / "numba" / f"{name}.py" for name in names]
    for source in (*sources, copy / "densecrf" / "unary.py", copy / "losses" / "lovasz_numba.py"):
        before = sources_hash(copy)
        source.write_text(source.read_text() + "\n# changed\n")
        assert sources_hash(copy) != before


def test_a_change_of_another_source_leaves_the_old_machine_code_alone(tmp_path):
    """vector.py changes; a function of unary.py, whose own file did not, is compiled anew."""
    root = shutil.copytree(FOLDER, tmp_path / "sonarseg", ignore=LEFT_OUT)
    cache = str(tmp_path / "cache")
    assert program_output(PROGRAM, tmp_path, NUMBA_CACHE_DIR=cache) == "9.0 0"
    assert program_output(PROGRAM, tmp_path, NUMBA_CACHE_DIR=cache) == "9.0 1"
    vector = root / "densecrf" / "engines" / "numba" / "vector.py"
    vector.write_text(vector.read_text() + "\n# changed\n")
    assert program_output(PROGRAM, tmp_path, NUMBA_CACHE_DIR=cache) == "9.0 0"


def test_where_nothing_can_be_written_it_is_compiled_all_the_same(tmp_path):
    root = shutil.copytree(FOLDER, tmp_path / "sonarseg", ignore=LEFT_OUT)
    # Files in the place of folders stop root, too.
    for folder in (root, root / "densecrf", root / "densecrf" / "engines" / "numba", root / "losses"):
        (folder / "__pycache__").touch()
    blocked = {"NUMBA_CACHE_DIR": "", "HOME": str(root / "__pycache__")}
    assert program_output(PROGRAM, tmp_path, **blocked) == "9.0 0"
    # One pixel of class 1 with an error of one half for both: the absent class 0 counts from 0 to 1.
    assert program_output(LOVASZ, tmp_path, **blocked) == "[1.0, -1.0]"


def test_sources_that_moved_are_not_noted_as_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(numba_cache, "cache_folder", lambda: tmp_path)
    numba_cache.note_compiled("this")
    assert numba_cache.compiled_before("this")
    monkeypatch.setattr(numba_cache, "_HERE", tmp_path / "elsewhere")
    assert not numba_cache.compiled_before("this")


def test_the_wait_is_told_only_where_there_is_one(monkeypatch):
    told = []

    def progress(what, done, total, note=""):
        told.append((done, total))

    numba_engine.compile_engine(1)
    base.make_ready(base.DEFAULT_ENGINE, 1, progress)
    assert not told
    assert not numba_engine.is_compiled(1, 250)
    monkeypatch.setattr(numba_engine, "is_compiled", lambda *_: False)
    base.make_ready(base.DEFAULT_ENGINE, 1, progress)
    assert told == [(0, 1), (1, 1)]


def test_the_torch_engine_counts_on_its_device_and_waits_for_no_compiler(monkeypatch):
    from sonarseg.densecrf.parameters import CrfParameters
    from sonarseg.densecrf.tile import CrfTile

    monkeypatch.setattr(counting, "count_history", None)
    told = []
    engine = base.Engine("torch", "cpu")
    base.make_ready(engine, 1, lambda *what: told.append(what))
    tile = CrfTile(np.ones((2, 4, 4), np.float16), np.zeros((4, 4), np.uint8))
    truth, ids = np.zeros((4, 4), np.uint8), np.arange(2, dtype=np.uint8)
    (counts,) = engine.confusions([tile], [truth], [ids], CrfParameters(), 1, 2)
    assert counts.tolist() == [[[16, 0], [0, 0]]] * 2
    assert not told


def test_what_studies_call_is_compiled_beforehand():
    from sonarseg.densecrf.engines.numba.counting import count_history
    from sonarseg.densecrf.history import confusion_histories
    from sonarseg.densecrf.parameters import CrfParameters
    from sonarseg.densecrf.tile import CrfTile
    from sonarseg.densecrf.unary import _hard_seed_energy

    numba_engine.compile_engine(1)
    before = len(count_history.signatures), len(_hard_seed_energy.signatures)
    mapped = np.zeros((9, 9), np.uint8)
    mapped.setflags(write=False)
    for kind in (np.float16, np.float32):
        for mask in (mapped, mapped.copy()):
            tile = CrfTile(np.random.default_rng(0).random((3, 9, 9)).astype(kind), mapped)
            ids = np.arange(3, dtype=np.uint8)
            confusion_histories([tile], [mask], [ids], CrfParameters(), 2, 3, base.DEFAULT_ENGINE)
    assert (len(count_history.signatures), len(_hard_seed_energy.signatures)) == before
    assert numba_cache.compiled_before("1-channels-4-lanes")
