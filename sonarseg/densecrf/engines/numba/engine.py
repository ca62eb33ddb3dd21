"""The dense CRF of one tile in one thread, without the interpreter's lock: the engine of the CPU."""

from __future__ import annotations

import ctypes
import math
import sys

import numpy as np
from numpy.typing import NDArray

from sonarseg.densecrf.engines.numba.lattice import Lattice, build_lattice, spatial_lattice
from sonarseg.densecrf.engines.numba.mean_field import lanes_for, mean_field
from sonarseg.densecrf.features import bilateral_features
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.tile import CrfTile
from sonarseg.densecrf.unary import unary_energy
from sonarseg.numba_cache import compiled_before, note_compiled

# Options of mallopt, from glibc's malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


def _keep_freed_memory() -> None:
    """Let the C library keep what a tile has freed for the next one.

    By default it hands large blocks back to the system, which then clears every page anew: up to a
    fifth of the time of a tile.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in ((_MMAP_THRESHOLD, 2**25), (_TRIM_THRESHOLD, 2**30), (_TOP_PAD, 2**24)):
            mallopt(option, value)


def label_history(tile: CrfTile, parameters: CrfParameters, iterations: int) -> NDArray[np.uint8]:
    """Labels uint8 (iterations + 1, H, W) after each of 0 to `iterations` iterations; the lowest of equals.

    They are rows of `tile.scores`. UserError if a kernel is too narrow for the size of the tile.
    """
    return _labels(tile, parameters, iterations, iterations + 1)


def last_labels(tile: CrfTile, parameters: CrfParameters) -> NDArray[np.uint8]:
    """Labels uint8 (H, W) after `parameters.iterations`; the last of `label_history`, without the others."""
    labels: NDArray[np.uint8] = _labels(tile, parameters, parameters.iterations, 1)[0]
    return labels


def _labels(tile: CrfTile, parameters: CrfParameters, iterations: int, rows: int) -> NDArray[np.uint8]:
    height, width = tile.shape
    labels = np.empty((rows, height * width), dtype=np.uint8)
    unary = unary_energy(tile.scores, parameters, tile.background, tile.valid)
    mean_field(unary, _kernels(tile, parameters), iterations, labels=labels)
    return labels.reshape(rows, height, width)


def marginals(tile: CrfTile, parameters: CrfParameters) -> NDArray[np.float32]:
    """Class probabilities float32 (k, H, W) after `parameters.iterations`; UserError as `label_history`."""
    height, width = tile.shape
    classes = len(tile.scores)
    unary = unary_energy(tile.scores, parameters, tile.background, tile.valid)
    found = np.empty((height * width, lanes_for(classes)), dtype=np.float32)
    mean_field(unary, _kernels(tile, parameters), parameters.iterations, marginals=found)
    return np.ascontiguousarray(found[:, :classes].T).reshape(classes, height, width)


def _kernels(tile: CrfTile, parameters: CrfParameters) -> tuple[tuple[Lattice, float], tuple[Lattice, float]]:
    """Both kernels with their weights. A kernel of weight 0 gets the cheapest lattice there is."""
    height, width = tile.shape
    sigma_gamma = parameters.sigma_gamma if parameters.w_spatial > 0 else math.inf
    if parameters.w_bilateral > 0:
        features = bilateral_features(tile.guide, parameters.sigma_alpha, parameters.sigma_beta)
        widths = f"sigma_alpha {parameters.sigma_alpha:g} and sigma_beta {parameters.sigma_beta:g}"
        bilateral = build_lattice(features, widths)
    else:
        bilateral = spatial_lattice(height, width, math.inf)
    spatial = spatial_lattice(height, width, sigma_gamma)
    return (bilateral, parameters.w_bilateral), (spatial, parameters.w_spatial)


def compile_engine(channels: int = 1, num_classes: int = 16) -> None:
    """Compile, or load from the cache, what tiles of up to so many classes and these channels need."""
    from sonarseg.densecrf.engines.numba.counting import compile_counting

    guide = np.zeros((4, 4) if channels == 1 else (4, 4, channels), dtype=np.uint8)
    # Wide kernels number the vertices by place, narrow ones by hash.
    for classes in sorted(_lanes_up_to(num_classes)):
        scores = np.zeros((classes, 4, 4), dtype=np.float32)
        for sigma in (10.0, 0.01):
            parameters = CrfParameters(sigma_alpha=sigma, sigma_beta=sigma, unary="soft", iterations=1)
            marginals(CrfTile(scores, guide), parameters)
    label_history(CrfTile(scores, guide), CrfParameters(unary="seeds"), 1)
    compile_counting()
    for classes in _lanes_up_to(num_classes):
        note_compiled(f"{channels}-channels-{classes}-lanes")


def is_compiled(channels: int, num_classes: int = 16) -> bool:
    """Whether `compile_engine` need only load."""
    return all(compiled_before(f"{channels}-channels-{lanes}-lanes") for lanes in _lanes_up_to(num_classes))


def _lanes_up_to(num_classes: int) -> set[int]:
    """Numbers of lanes of tiles of 2 to `num_classes` classes."""
    return {lanes_for(classes) for classes in range(2, max(2, num_classes) + 1)}


_keep_freed_memory()
