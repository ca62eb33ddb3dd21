"""Vector intrinsics against NumPy."""

import numpy as np
import pytest
from numba import njit

from sonarseg.densecrf.engines.numba import vector

LANES = [4, 8, 16, 48, 64, 128]


@njit
def softmax_rows(values, out, labels, lanes):
    for row in range(np.uint64(len(values))):
        x = vector.load(values, row, lanes)
        highest = vector.largest(x, lanes)
        vector.store_first_equal(labels, row, x, highest, lanes)
        y = vector.exponential(x - highest)
        vector.store(out, row, y * vector.reciprocal(vector.total(y, lanes)))


@pytest.mark.parametrize("lanes", LANES)
def test_softmax_and_argmax(lanes):
    generator = np.random.default_rng(lanes)
    values = np.round(generator.normal(0, 20, (500, lanes)), 1).astype(np.float32)
    out, labels = np.empty_like(values), np.empty(500, np.uint8)
    softmax_rows(values, out, labels, (0,) * lanes)
    np.testing.assert_array_equal(labels, values.argmax(1))
    shifted = values.astype(float) - values.max(1, keepdims=True)
    np.testing.assert_allclose(out, np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True), atol=5e-7)


@njit
def exponentials(values, out, lanes):
    for row in range(np.uint64(len(values))):
        vector.store(out, row, vector.exponential(vector.load(values, row, lanes)))


def test_exponential_is_accurate():
    values = -np.geomspace(1e-9, 79.9, 16_000).astype(np.float32).reshape(-1, 16)
    out = np.empty_like(values)
    exponentials(values, out, (0,) * 16)
    expected = np.exp(values.astype(float))
    relative = np.abs(out / expected - 1)
    assert relative[values > -1].max() < 4e-7
    assert relative.max() < 1.5e-5


def test_exponential_of_the_very_small_is_all_but_zero():
    values = np.full((1, 16), -1e30, np.float32)
    out = np.ones_like(values)
    exponentials(values, out, (0,) * 16)
    assert (out >= 0).all()
    assert out.max() < 1e-34


@njit
def groups(values, maxima, sums, wide, lanes):
    for row in range(np.uint64(len(values))):
        x = vector.load(values, row, wide)
        vector.store(maxima, row, vector.largest(x, lanes))
        vector.store(sums, row, vector.total(x, lanes))


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_groups_within_a_register(lanes):
    values = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
    maxima, sums = np.empty_like(values), np.empty_like(values)
    groups(values, maxima, sums, (0,) * 16, (0,) * lanes)
    grouped = values.reshape(50, -1, lanes)
    np.testing.assert_array_equal(maxima, np.repeat(grouped.max(2), lanes, axis=1))
    np.testing.assert_allclose(sums, np.repeat(grouped.sum(2), lanes, axis=1), atol=1e-5)


@njit
def choices(a, b, out, lanes):
    x, y = vector.load(a, np.uint64(0), lanes), vector.load(b, np.uint64(0), lanes)
    vector.store(out, np.uint64(0), vector.where_less(x, y, x, y))
    vector.store(out, np.uint64(1), vector.where_equal(x, y, x, x + y))
    vector.store(out, np.uint64(2), vector.nearest(x))
    vector.store(out, np.uint64(3), vector.fused_multiply_add(x, y, vector.broadcast(np.float32(2), lanes)))


def test_choices_and_rounding():
    a = np.array([-2.5, -0.5, 0.5, 1.5, 2.5, 3, 7, 0.49999], np.float32)
    b = np.array([-2.5, 1, 0.25, 1.5, -9, 3, 8, 2], np.float32)
    out = np.empty((4, 8), np.float32)
    choices(a, b, out, (0,) * 8)
    np.testing.assert_array_equal(out[0], np.minimum(a, b))
    np.testing.assert_array_equal(out[1], np.where(a == b, a, a + b))
    np.testing.assert_array_equal(out[2], np.rint(a))
    np.testing.assert_allclose(out[3], a * b + 2)
