"""Slopes of the Lovász-Softmax loss on the CPU, by numba and a radix sort, a class a thread.

torch's sort, which moves an index along with each value, would take most of a training step; NumPy's is
slow on chips whose AVX-512 it does not suit (AMD Zen 4).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonarseg.numba_cache import compiled

# Bits of the largest float32 that is not negative: larger than those of any error
_LAST = 0x7FFFFFFF
# The sort takes so many bits at a time of the 31 that an error has.
_DIGIT_BITS, _DIGITS = 11, 3


def slopes_by_rows(
    probabilities: Tensor, target: Tensor, ignore_index: int, per_image: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fields of `sonarseg.losses.lovasz_softmax.Slopes`, for contiguous float32 and int64 on the CPU."""
    batch, num_classes, _ = probabilities.shape
    slope = torch.empty_like(probabilities)
    sets = [slice(i, i + 1) for i in range(batch)] if per_image else [slice(0, batch)]
    constant = torch.zeros(len(sets), num_classes, dtype=torch.float64)
    counts = torch.zeros(len(sets), num_classes, 2, dtype=torch.int64)
    p, t, s, total, count = (x.numpy() for x in (probabilities, target, slope, constant, counts))

    def one(row: tuple[int, int]) -> None:
        number, c = row
        images = sets[number]
        keys = np.empty(t[images].size, dtype=np.int64)
        _fill_keys(p[images], t[images], c, ignore_index, keys, count[number, c])
        ordered = _sorted(keys, np.empty_like(keys))
        total[number, c] = _fill_slopes(ordered, count[number, c], s[images].reshape(-1))

    rows = list(product(range(len(sets)), range(num_classes)))
    threads = min(torch.get_num_threads(), len(rows))
    if threads == 1:
        for row in rows:
            one(row)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, rows))
    return slope, constant, counts[:, :, 0], counts[:, 0, 1]


def compile_rows() -> None:
    """Compile, or load from the cache, what the loss needs."""
    probabilities, target = torch.full((1, 2, 4), 0.5), torch.zeros((1, 4), dtype=torch.int64)
    slopes_by_rows(probabilities, target, ignore_index=255, per_image=True)


@compiled()
def _fill_keys(p: Any, target: Any, c: int, ignore_index: int, keys: Any, counts: Any) -> None:
    """Fill whole numbers that sort as the errors fall: bits of the error, place in `p`, whether of the class.

    `p` is float32 (images, K, P), `target` int64 (images, P), `keys` int64 (images * P,); `counts`, int64
    (2,), get the pixels of the class and those with a label.
    """
    images, num_classes, pixels = p.shape
    errors = np.empty(pixels, dtype=np.float32)
    bits = errors.view(np.int32)
    members, valid = np.int64(0), np.int64(0)
    for image in range(images):
        row, start = p[image, c], (image * num_classes + c) * pixels
        for i in range(pixels):
            errors[i] = np.float32(1) - row[i] if target[image, i] == c else row[i]
        for i in range(pixels):
            label = target[image, i]
            is_member, is_valid = np.int64(label == c), np.int64(label != ignore_index)
            members += is_member
            valid += is_valid
            order = np.int64(_LAST) - is_valid * (np.int64(bits[i]) + 1)
            keys[image * pixels + i] = (order << 32) | (np.int64(start + i) << 1) | is_member
    counts[0] = members
    counts[1] = valid


@compiled()
def _sorted(keys: NDArray[np.int64], spare: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sort by the upper half of each key, in the two arrays in turn, and give the one that is sorted.

    Equal ones keep their order, which is that of their places (radix sort from the least digit: Knuth, The
    Art of Computer Programming 3, 5.2.5, algorithm R).
    """
    bins = 1 << _DIGIT_BITS
    starts = np.zeros((_DIGITS, bins), dtype=np.int64)
    for key in keys:
        for digit in range(_DIGITS):
            starts[digit, (key >> (32 + _DIGIT_BITS * digit)) & (bins - 1)] += 1
    given, taken = keys, spare
    for digit in range(_DIGITS):
        start, shift, before = starts[digit], 32 + _DIGIT_BITS * digit, np.int64(0)
        for value in range(bins):
            before, start[value] = before + start[value], before
        for key in given:
            value = (key >> shift) & (bins - 1)
            taken[start[value]] = key
            start[value] += 1
        given, taken = taken, given
    return given


@compiled()
def _fill_slopes(keys: NDArray[np.int64], counts: NDArray[np.int64], slope: Any) -> float:
    """Slopes of sorted pixels, put where the pixels are; gives the constant of the set."""
    members, valid = counts
    for rank in range(0 if members == 0 else valid, len(keys)):
        slope[(keys[rank] & 0xFFFFFFFF) >> 1] = 0.0
    if members == 0:
        # The first wrong pixel of a class that is not there takes the loss from 0 to 1.
        if valid > 0:
            slope[(keys[0] & 0xFFFFFFFF) >> 1] = 1.0
        return 0.0
    intersection, union, constant = float(members), float(members), 0.0
    for rank in range(valid):
        if keys[rank] & 1:
            step = -1.0 / union
            intersection -= 1.0
            constant -= step
        else:
            step = intersection / (union * (union + 1.0))
            union += 1.0
        slope[(keys[rank] & 0xFFFFFFFF) >> 1] = step
    return constant
