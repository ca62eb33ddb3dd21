"""Mean-field inference on permutohedral lattices, a tile in one thread, in numba.

One pass over the pixels does a whole iteration: it slices both blurred lattices, adds the unary, takes the
softmax and splats the result for the next iteration, so that no marginal is ever stored. The
classes of a pixel are the lanes of one vector register (`sonarseg.densecrf.engines.numba.vector`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonarseg.densecrf.engines.numba.lattice import Lattice
from sonarseg.densecrf.engines.numba.vector import (
    broadcast,
    exponential,
    fused_multiply_add,
    largest,
    load,
    reciprocal,
    store,
    store_first_equal,
    total,
)
from sonarseg.numba_cache import compiled

# A class that is not there: its probability is 0 beside every other.
_ABSENT = np.float32(-np.inf)
# Pixels that go through the three loops of an iteration together
_BLOCK = 32


def lanes_for(classes: int) -> int:
    """Vector lanes that hold the classes: 4, 8, then multiples of 16, each compiled once."""
    return 4 if classes <= 4 else 8 if classes <= 8 else 16 * math.ceil(classes / 16)


def mean_field(
    unary: NDArray[np.float32],
    kernels: tuple[tuple[Lattice, float], tuple[Lattice, float]],
    iterations: int,
    *,
    labels: NDArray[np.uint8] | None = None,
    marginals: NDArray[np.float32] | None = None,
) -> None:
    """Run mean-field inference with Potts compatibility (arXiv 1210.5644, algorithm 1).

    Parameters
    ----------
    unary : float32 (k, N), C order
        Unary energies of k >= 1 classes.
    kernels : two pairs of (Lattice, weight)
        The bilateral and the spatial kernel, over the same N pixels.
    iterations : int
        Mean-field iterations.
    labels : uint8 (R, N), R <= iterations + 1, optional
        Filled: the last row holds the class of highest probability after all iterations, the lowest of
        equals, the row before that after one less, and so on; with R = iterations + 1 row 0 is the unary's.
    marginals : float32 (N, lanes_for(k)), optional
        Filled with the marginals after the last iteration; lanes past k are 0.
    """
    classes, pixels = unary.shape
    lanes = (0,) * lanes_for(classes)
    bilateral, spatial = (_kernel(lattice, weight) for lattice, weight in kernels)
    if labels is None:
        labels = np.empty((0, pixels), np.uint8)
    if marginals is None:
        marginals = np.empty((0, len(lanes)), np.float32)
    _run(unary, bilateral, spatial, iterations, labels, marginals, lanes, (0,) * max(16, len(lanes)))


class _Kernel(NamedTuple):
    """A lattice as numba takes it, with the kernel's strength and a tuple as long as a pixel has vertices."""

    vertices: NDArray[np.int32]
    weights: NDArray[np.float32]
    neighbours: NDArray[np.int32]
    strength: np.float32
    corners: tuple[int, ...]


def _kernel(lattice: Lattice, weight: float) -> _Kernel:
    strength = np.float32(weight * lattice.slice_factor)
    corners = (0,) * lattice.vertices.shape[1]
    return _Kernel(lattice.vertices, lattice.weights, lattice.neighbours, strength, corners)


@compiled()
def _run(
    unary: Any, bilateral: Any, spatial: Any, iterations: int, labels: Any, marginals: Any, lanes: Any,
    wide: Any,
) -> None:  # fmt: skip
    width = len(lanes)
    likelihood = _turn(unary, width)
    block, block_labels = np.zeros((_BLOCK, width), np.float32), np.zeros(_BLOCK, np.uint8)
    # The last row stands for missing neighbours and stays zero.
    read_b = np.zeros((len(bilateral.neighbours) + 1, width), np.float32)
    read_s = np.zeros((len(spatial.neighbours) + 1, width), np.float32)
    write_b, spare_b = np.zeros_like(read_b), np.zeros_like(read_b)
    write_s, spare_s = np.zeros_like(read_s), np.zeros_like(read_s)
    for iteration in range(iterations + 1):
        last = iteration == iterations
        place = iteration - (iterations + 1 - len(labels))
        row = labels[max(place, 0) : max(place + 1, 0)]
        _pass_over_pixels(
            likelihood, bilateral, read_b, write_b, spatial, read_s, write_s,
            row, marginals, last, lanes, wide, block, block_labels,
        )  # fmt: skip
        if not last:
            read_b, write_b, spare_b = _blur(write_b, spare_b, read_b, bilateral, lanes)
            read_s, write_s, spare_s = _blur(write_s, spare_s, read_s, spatial, lanes)
            write_b[:] = 0
            write_s[:] = 0


@compiled()
def _turn(unary: Any, width: int) -> Any:
    """Log-likelihoods, float32 (N, width), of unary energies (k, N)."""
    classes, pixels = unary.shape
    likelihood = np.empty((pixels, width), np.float32)
    for n in range(pixels):
        for c in range(classes):
            likelihood[n, c] = -unary[c, n]
        for c in range(classes, width):
            likelihood[n, c] = _ABSENT
    return likelihood


@compiled()
def _blur(values: Any, spare: Any, other: Any, kernel: Any, lanes: Any) -> Any:
    """Blur along every axis; return the three buffers, the result first."""
    half = broadcast(np.float32(0.5), lanes)
    neighbours = kernel.neighbours
    for axis in range(len(kernel.corners)):
        for vertex in range(np.uint64(len(neighbours))):
            one = load(values, np.uint64(neighbours[vertex, axis, 0]), lanes)
            two = load(values, np.uint64(neighbours[vertex, axis, 1]), lanes)
            store(spare, vertex, fused_multiply_add(half, one + two, load(values, vertex, lanes)))
        values, spare = spare, values
    return values, other, spare


@compiled()
def _pass_over_pixels(
    likelihood: Any, bilateral: Any, read_b: Any, write_b: Any, spatial: Any, read_s: Any, write_s: Any,
    labels: Any, marginals: Any, last: bool, lanes: Any, wide: Any, block: Any, block_labels: Any,
) -> None:  # fmt: skip
    """Slice, add the unary, softmax and splat, a block of pixels at a time.

    Three short loops over a block keep more pixels in flight than one long loop body, and let the
    softmax work on as many pixels at once as fit a register.
    """
    vertices_b, weights_b, vertices_s, weights_s = (
        bilateral.vertices, bilateral.weights, spatial.vertices, spatial.weights
    )  # fmt: skip
    by_b, by_s = broadcast(bilateral.strength, lanes), broadcast(spatial.strength, lanes)
    per_register = np.uint64(len(wide) // len(lanes))
    pixels = np.uint64(len(likelihood))
    for first in range(np.uint64(0), pixels, np.uint64(_BLOCK)):
        size = min(np.uint64(_BLOCK), pixels - first)
        for i in range(size):
            n = first + i
            heard = broadcast(np.float32(0), lanes)
            for j in range(np.uint64(len(bilateral.corners))):
                weight = broadcast(weights_b[n, j], lanes)
                heard = fused_multiply_add(weight, load(read_b, np.uint64(vertices_b[n, j]), lanes), heard)
            energy = fused_multiply_add(heard, by_b, load(likelihood, n, lanes))
            heard = broadcast(np.float32(0), lanes)
            for j in range(np.uint64(len(spatial.corners))):
                weight = broadcast(weights_s[n, j], lanes)
                heard = fused_multiply_add(weight, load(read_s, np.uint64(vertices_s[n, j]), lanes), heard)
            store(block, i, fused_multiply_add(heard, by_s, energy))
        for i in range(np.uint64(_BLOCK) // per_register):
            energy = load(block, i, wide)
            highest = largest(energy, lanes)
            store_first_equal(block_labels, i * per_register, energy, highest, lanes)
            belief = exponential(energy - highest)
            store(block, i, belief * reciprocal(total(belief, lanes)))
        if len(labels) > 0:
            for i in range(size):
                labels[0, first + i] = block_labels[i]
        if last:
            if len(marginals) > 0:
                for i in range(size):
                    store(marginals, first + i, load(block, i, lanes))
            continue
        for i in range(size):
            n = first + i
            belief = load(block, i, lanes)
            for j in range(np.uint64(len(bilateral.corners))):
                vertex = np.uint64(vertices_b[n, j])
                weight = broadcast(weights_b[n, j], lanes)
                store(write_b, vertex, fused_multiply_add(weight, belief, load(write_b, vertex, lanes)))
            for j in range(np.uint64(len(spatial.corners))):
                vertex = np.uint64(vertices_s[n, j])
                weight = broadcast(weights_s[n, j], lanes)
                store(write_s, vertex, fused_multiply_add(weight, belief, load(write_s, vertex, lanes)))
