"""`make bench-densecrf`: the dense CRF engines and the crf study beside pydensecrf, in turn in one run.

Writes benchmarks/results/densecrf.json. `--seeds 5` runs more studies (15 minutes), `--no-study` none; stored
study rows of more seeds than are run stay beside the new ones, each case saying how many.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

# One thread a run is what is compared; torch would take all.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from crf_study import cases as study_cases
from crf_study import pydensecrf_labels
from numpy.typing import NDArray
from pydensecrf.densecrf import DenseCRF
from result_rows import RESULTS, Row, write_rows
from result_rows import row as result_row

from sonarseg.densecrf.engines.numba import engine as numba_engine
from sonarseg.densecrf.engines.torch import engine as torch_engine
from sonarseg.densecrf.features import bilateral_features, spatial_features
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
from sonarseg.densecrf.unary import unary_energy
from sonarseg.processes.pool import PYTHON

# sigma_alpha, sigma_beta (one channel), sigma_gamma: published ones, and a spread of the search space
WIDTHS = [
    (50, 3, 3),
    (80, 7.5, 3),
    (20, 5, 3),
    (67, 1.7, 1),
    (10, 3, 3),
    (5, 20, 10),
    (120, 40, 6),
    (30, 10, 2),
]
BASE = CrfParameters(unary="soft", w_bilateral=3, w_spatial=1, iterations=10)


def speckled_tile(size: int, classes: int, seed: int) -> CrfTile:
    """Regions of different backscatter under four-look speckle, and noisy scores of them."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    centres = generator.random((classes, 2)) * size
    truth = np.argmin([(rows - r) ** 2 + (columns - c) ** 2 for r, c in centres], axis=0)
    image = np.linspace(40, 170, classes)[truth] * np.sqrt(generator.gamma(4, 0.25, truth.shape))
    scores = 0.4 * (truth == np.arange(classes)[:, None, None])
    scores = scores + 0.6 * generator.random(scores.shape)
    return CrfTile(scores.astype(np.float16), np.clip(image, 0, 255).astype(np.uint8))


def pydensecrf_grey(tile: CrfTile, parameters: CrfParameters) -> NDArray[np.uint8]:
    """Labels by pydensecrf, given the same three features a pixel as ours."""
    crf = DenseCRF(tile.guide.size, len(tile.scores))
    crf.setUnaryEnergy(unary_energy(tile.scores, parameters))
    crf.addPairwiseEnergy(spatial_features(*tile.shape, parameters.sigma_gamma), compat=parameters.w_spatial)
    features = bilateral_features(tile.guide, parameters.sigma_alpha, parameters.sigma_beta)
    crf.addPairwiseEnergy(features, compat=parameters.w_bilateral)
    return np.asarray(crf.inference(parameters.iterations)).argmax(0).astype(np.uint8)


def pydensecrf_rgb(tile: CrfTile, parameters: CrfParameters) -> NDArray[np.uint8]:
    """Labels by pydensecrf as people call it: grey repeated to RGB, five features a pixel."""
    return pydensecrf_labels(tile.scores, tile.guide, parameters)


def ours(tile: CrfTile, parameters: CrfParameters) -> NDArray[np.uint8]:
    """Labels by the numba engine, those after every iteration included."""
    return numba_engine.label_history(tile, parameters, parameters.iterations)


def in_turn(one: Callable[[], object], other: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median milliseconds of each, the two run in turn."""
    one(), other()
    times: list[list[float]] = [[], []]
    for _ in range(repeats):
        for place, call in enumerate((one, other)):
            started = time.perf_counter()
            call()
            times[place].append(1e3 * (time.perf_counter() - started))
    return median(times[0]), median(times[1])


row = partial(result_row, unit="ms", larger_is_better=False, digits=3)


def with_widths(widths: tuple[float, float, float], iterations: int = 10) -> CrfParameters:
    """The benchmark's setting with other widths."""
    names = ("sigma_alpha", "sigma_beta", "sigma_gamma")
    return BASE.model_copy(update={**dict(zip(names, widths, strict=True)), "iterations": iterations})


def one_thread_cases() -> list[Row]:
    """256 x 256 x 6, ten iterations, over a spread of widths; grey and RGB features of the peer."""
    tile, rows = speckled_tile(256, 6, 0), []
    peers = (("the same 3 features", pydensecrf_grey, 5), ("RGB features", pydensecrf_rgb, 3))
    for name, peer, repeats in peers:
        sums = [0.0, 0.0]
        for widths in WIDTHS:
            p = with_widths(widths)
            mine, theirs = in_turn(lambda p=p: ours(tile, p), lambda p=p, peer=peer: peer(tile, p), repeats)
            sums[0] += mine
            sums[1] += theirs
            text = "sigma_alpha {:g}, sigma_beta {:g}, sigma_gamma {:g}".format(*widths)
            rows.append(row(f"1 thread, 256 x 256 x 6, {name}, {text}", mine, theirs))
        rows.append(row(f"1 thread, 256 x 256 x 6, {name}, all {len(WIDTHS)} widths", *sums))
    return rows


def two_thread_case() -> Row:
    """Sixteen tiles by two threads of ours and one process of pydensecrf, which threads do not help."""
    tiles = [speckled_tile(256, 6, seed) for seed in range(16)]
    settings = [with_widths(WIDTHS[index % len(WIDTHS)]) for index in range(len(tiles))]
    with ThreadPoolExecutor(2) as pool:
        mine, theirs = in_turn(
            lambda: list(pool.map(ours, tiles, settings)),
            lambda: [pydensecrf_grey(tile, p) for tile, p in zip(tiles, settings, strict=True)],
            3,
        )
    return row("2 threads and 1 process, 16 tiles of 256 x 256 x 6, all widths", mine, theirs)


def thread_cases() -> list[Row]:
    """The same by more and more threads of ours, beside one thread of ours."""
    tiles = [speckled_tile(256, 6, seed) for seed in range(16)]
    settings = [with_widths(WIDTHS[index % len(WIDTHS)]) for index in range(len(tiles))]
    rows, threads = [], 2
    while threads <= (os.cpu_count() or 1):
        with ThreadPoolExecutor(threads) as many, ThreadPoolExecutor(1) as one:
            times = in_turn(
                lambda: list(many.map(ours, tiles, settings)),
                lambda: list(one.map(ours, tiles, settings)),
                5,
            )
        rows.append(row(f"{threads} threads of ours and 1 thread of ours, 16 tiles of 256 x 256 x 6", *times))
        threads *= 2
    return rows


def scaling_cases() -> list[Row]:
    """One thread over tile size, classes and iterations; sigma 20, 5, 3."""

    def beside(case: str, tile: CrfTile, p: CrfParameters, repeats: int = 3) -> Row:
        times = in_turn(lambda: ours(tile, p), lambda: pydensecrf_grey(tile, p), repeats)
        return row(f"1 thread, {case}", *times)

    tile, p = speckled_tile(256, 6, 0), with_widths((20, 5, 3))
    rows = [
        beside(f"{size} x {size} x 6", speckled_tile(size, 6, 0), p, repeats=3 if size < 1024 else 1)
        for size in (64, 128, 512, 1024)
    ]
    rows += [
        beside(f"256 x 256 x {classes}", speckled_tile(256, classes, 0), p) for classes in (2, 3, 12, 24, 40)
    ]
    rows += [
        beside(f"256 x 256 x 6, {iterations} iterations", tile, with_widths((20, 5, 3), iterations))
        for iterations in (1, 5, 20)
    ]
    counts = [p.model_copy(update={"iterations": count}) for count in range(1, 11)]
    times = in_turn(lambda: ours(tile, p), lambda: [pydensecrf_grey(tile, each) for each in counts], 1)
    rows.append(row("1 thread, labels of every number of iterations from 1 to 10", *times))
    return rows


_MEMORY = """
import ctypes, sys; sys.path.insert(0, {folder!r})
import densecrf as bench
def held(field):
    return int(next(line for line in open("/proc/self/status") if line.startswith(field)).split()[1]) / 1024
call = getattr(bench, {call!r})
call(bench.speckled_tile(32, 6, 0), bench.BASE)
tile = bench.speckled_tile(1024, 6, 0)
# What earlier work has freed would hide a part of the growth.
ctypes.CDLL(None).malloc_trim(0)
before = held("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
call(tile, bench.BASE)
print(held("VmHWM") - before)
"""


def memory_case() -> Row:
    """Growth of a fresh process over one 1024 x 1024 x 6 tile."""
    folder = str(Path(__file__).parent)
    grown = []
    for call in ("ours", "pydensecrf_grey"):
        program = _MEMORY.format(folder=folder, call=call)
        run = subprocess.run([*PYTHON, "-c", program], capture_output=True, text=True, check=True)
        grown.append(float(run.stdout))
    return row("peak memory of one tile, 1024 x 1024 x 6", *grown, unit="MiB")


def compile_case() -> Row:
    """Seconds to compile the engine into an empty cache, once for a machine."""
    with tempfile.TemporaryDirectory() as cache:
        started = time.perf_counter()
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        command = [*PYTHON, "-m", "sonarseg.densecrf"]
        subprocess.run(command, check=True, capture_output=True, env=environment)
        return row(
            "compiling the numba engine, once for a machine", time.perf_counter() - started, None, unit="s"
        )


def torch_on_cpu_case() -> Row:
    """The torch engine on one CPU thread, for comparison only."""
    torch.set_num_threads(1)
    tile, p = speckled_tile(256, 6, 0), with_widths((20, 5, 3))
    cpu = torch.device("cpu")
    times = in_turn(
        lambda: torch_engine.label_history([tile], p, p.iterations, device=cpu),
        lambda: pydensecrf_grey(tile, p),
        3,
    )
    return row("torch engine on 1 CPU thread, 256 x 256 x 6", *times)


def rows_of_more_seeds(stored: list[Row], seeds: int) -> list[Row]:
    """Stored rows that are medians of more seeds than `seeds`: fewer do not take their place."""

    def count(case: str) -> int:
        found = re.search(r"median of (\d+) seeds", case)
        return int(found[1]) if found else 0

    return [row for row in stored if count(row["case"]) > seeds]


def main() -> None:
    """Run all cases and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="studies of the study benchmark")
    parser.add_argument("--no-study", action="store_true", help="leave the study benchmark out")
    arguments = parser.parse_args()
    rows = [compile_case(), *one_thread_cases(), two_thread_case(), *thread_cases(), *scaling_cases()]
    rows.append(memory_case())
    rows.append(torch_on_cpu_case())
    if not arguments.no_study:
        rows += study_cases(arguments.seeds)
    path = RESULTS / "densecrf.json"
    stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    kept = rows_of_more_seeds(stored, 0 if arguments.no_study else arguments.seeds)
    for each in kept:
        print(f"kept from an earlier run: {each['case']}")
    rows += kept
    write_rows("densecrf", rows)


if __name__ == "__main__":
    main()
