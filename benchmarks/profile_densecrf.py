"""Where the numba engine's time goes on one tile, and how far it is from what memory allows.

`python benchmarks/profile_densecrf.py` prints a table in Markdown: 256 x 256 x 6, ten iterations, one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from densecrf import speckled_tile, with_widths

from sonarseg.densecrf.engines.base import DEFAULT_ENGINE
from sonarseg.densecrf.engines.numba import mean_field as numba_mean_field
from sonarseg.densecrf.engines.numba.engine import label_history
from sonarseg.densecrf.engines.numba.lattice import build_lattice, spatial_lattice
from sonarseg.densecrf.engines.numba.mean_field import lanes_for, mean_field
from sonarseg.densecrf.features import bilateral_features
from sonarseg.densecrf.history import confusion_histories
from sonarseg.densecrf.unary import unary_energy

CLASSES, ITERATIONS = 6, 10


def least(call: Callable[[], object], repeats: int = 40) -> float:
    """Shortest time of a call, milliseconds."""
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return 1e3 * min(times)


def copy_bandwidth() -> float:
    """Bytes a second that one thread reads and writes when it copies 256 MiB."""
    source = np.ones(2**28, np.uint8)
    target = np.empty_like(source)
    return 2 * source.nbytes / (least(lambda: np.copyto(target, source), 5) / 1e3)


def profile(widths: tuple[float, float, float]) -> list[tuple[str, float]]:
    """Milliseconds of each part of a tile."""
    tile, p = speckled_tile(256, CLASSES, 0), with_widths(widths)
    features = bilateral_features(tile.guide, p.sigma_alpha, p.sigma_beta)
    lattice, spatial = build_lattice(features), spatial_lattice(256, 256, p.sigma_gamma)
    unary, kernels = unary_energy(tile.scores, p), ((lattice, 3.0), (spatial, 1.0))
    labels = np.empty((ITERATIONS + 1, 256 * 256), np.uint8)
    truth, ids = np.zeros((256, 256), np.uint8), np.arange(CLASSES, dtype=np.uint8)
    nothing = least(lambda: mean_field(unary, kernels, 0, labels=labels[:1]))
    everything = least(lambda: mean_field(unary, kernels, ITERATIONS, labels=labels))
    lanes = (0,) * lanes_for(CLASSES)
    blur = 0.0
    for each in (lattice, spatial):
        buffers = [np.zeros((len(each.neighbours) + 1, len(lanes)), np.float32) for _ in range(3)]
        kernel = numba_mean_field._kernel(each, 1.0)
        blur += least(lambda b=buffers, k=kernel: numba_mean_field._blur(*b, k, lanes))
    scored = least(
        lambda: confusion_histories([tile], [truth], [ids], p, ITERATIONS, CLASSES, DEFAULT_ENGINE)
    )
    whole = least(lambda: label_history(tile, p, ITERATIONS))
    return [
        ("features of the bilateral kernel", least(lambda: bilateral_features(tile.guide, 20, 5))),
        ("bilateral lattice", least(lambda: build_lattice(features))),
        ("unary energies", least(lambda: unary_energy(tile.scores, p))),
        ("before the first iteration (turning the unary, softmax, labels)", nothing),
        ("blur, 10 iterations", ITERATIONS * blur),
        ("slice, softmax, labels, splat, 10 iterations", everything - nothing - ITERATIONS * blur),
        ("counting against the truth, 11 times", scored - whole),
        ("whole tile", scored),
    ]


def main() -> None:
    """Print the table and the memory bound."""
    settings = [(20.0, 5.0, 3.0), (5.0, 3.0, 1.5)]
    columns = [profile(widths) for widths in settings]
    print(
        "| part, ms | " + " | ".join("sigma {:g}, {:g}, {:g}".format(*widths) for widths in settings) + " |"
    )
    print("|---|" + "---|" * len(settings))
    for rows in zip(*columns, strict=True):
        print(f"| {rows[0][0]} | " + " | ".join(f"{value:.2f}" for _, value in rows) + " |")
    # A pixel's unary in 8 lanes, and number and weight of its 4 + 3 vertices, once an iteration
    moved = 256 * 256 * (8 * 4 + 7 * (4 + 4))
    bandwidth = copy_bandwidth()
    print(
        f"\nAn iteration streams {moved / 2**20:.1f} MiB of pixel data; at the {bandwidth / 1e9:.0f} GB/s "
        f"that one thread copies with, {1e3 * moved / bandwidth:.2f} ms."
    )


if __name__ == "__main__":
    main()
