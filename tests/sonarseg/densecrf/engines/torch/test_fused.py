"""The fused kernels in Triton's interpreter, and on CUDA if there is a device."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.version import Version

from sonarseg.densecrf.engines.numba import engine as numba_engine
from sonarseg.densecrf.engines.numba.counting import count_history
from sonarseg.densecrf.engines.torch import engine as torch_engine
from tests.support.fused_crf import CPU, WIDE, cases, counted

triton = pytest.importorskip("triton")
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    """What the kernels gave in a process of their own."""
    if Version(triton.__version__) < Version("3.7") and Version(np.__version__) >= Version("2.4"):
        pytest.skip("the interpreter of Triton before 3.7 does not run with NumPy 2.4 or later")
    path = tmp_path_factory.mktemp("fused") / "found.npz"
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "tests.support.fused_crf", str(path)]
    subprocess.run(command, check=True, env=environment, cwd=Path(__file__).parents[5])
    return np.load(path)


@pytest.mark.parametrize("name", list(cases()))
def test_the_labels_equal_those_of_the_other_engines(interpreted, name):
    batch, parameters = cases()[name]
    by_torch = torch_engine.label_history(batch, parameters, 2, device=CPU, fused=False)
    for index, (tile, expected) in enumerate(zip(batch, by_torch, strict=True)):
        found = interpreted[f"{name} {index}"]
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(found, numba_engine.label_history(tile, parameters, 2))


def test_the_marginals_equal_those_of_torch(interpreted):
    for index, expected in enumerate(torch_engine.marginals(cases()["wide"][0], WIDE, device=CPU)):
        np.testing.assert_allclose(interpreted[f"belief {index}"], expected, atol=1e-5)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "torch"])
def test_the_counts_equal_those_of_the_numba_engine(interpreted, fused):
    batch, parameters = cases()["ragged"]
    truths, kept = counted(batch)
    counts = torch_engine.confusions(batch, truths, kept, parameters, 2, 6, device=CPU, fused=False)
    for index, tile in enumerate(batch):
        history = numba_engine.label_history(tile, parameters, 2).reshape(3, -1)
        expected = count_history(history, truths[index].reshape(-1), kept[index], 6)
        found = interpreted[f"counts {index}"] if fused else counts[index]
        np.testing.assert_array_equal(found, expected)


@CUDA
@pytest.mark.parametrize("name", list(cases()))
def test_on_cuda_the_labels_equal_numbas_and_each_other_bit_for_bit(name):
    batch, parameters = cases()[name]
    device = torch.device("cuda")
    runs = [torch_engine.marginals(batch, parameters, device=device, fused=True) for _ in range(2)]
    assert all(np.array_equal(one, two) for one, two in zip(*runs, strict=True))
    for tile, labels in zip(
        batch, torch_engine.label_history(batch, parameters, 2, device=device, fused=True), strict=True
    ):
        assert (labels == numba_engine.label_history(tile, parameters, 2)).mean() >= 0.9995
