"""The fused kernels run by default only on a device where they work; what failed is stated."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from sonarseg.densecrf.engines import faster
from sonarseg.densecrf.engines.base import Engine
from sonarseg.densecrf.engines.torch import engine as torch_engine
from sonarseg.densecrf.engines.torch import fused_choice
from sonarseg.errors import UserError
from tests.support.simulated_cuda import simulated_cuda

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
Fused = list[Any]


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fused]:
    """What the fused kernels do when they are tried, on a device whose torch operations work."""
    answers: Fused = []
    real = torch_engine.last_labels

    def last_labels(tiles: Any, parameters: Any, **how: Any) -> Any:
        if not how["fused"]:
            return real(tiles, parameters, **how)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [answer(labels) for labels in real(tiles, parameters, **(how | {"fused": False}))]

    monkeypatch.setattr(torch_engine, "last_labels", last_labels)
    monkeypatch.setattr(fused_choice, "FUSED_BY_DEFAULT", True)
    monkeypatch.setattr(fused_choice, "_refusals", {})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with simulated_cuda(2) as gpus:
        yield answers
        assert gpus.held() == {}


def test_kernels_that_give_the_same_labels_run_and_are_tried_once(fused: Fused) -> None:
    fused.append(lambda labels: labels)
    assert fused_choice.takes_fused(None, torch.device("cuda"))
    assert fused_choice.takes_fused(None, CUDA)
    assert Engine("torch", "cuda:0").fallback_note() == ""


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ModuleNotFoundError("No module named 'triton'"), "ModuleNotFoundError: No module named 'triton'"),
        (RuntimeError("Failed to find C compiler.\nSet CC."), "RuntimeError: Failed to find C compiler."),
        (np.zeros_like, "of the labels equal those of torch operations"),
    ],
    ids=["import", "compiler", "labels"],
)
def test_kernels_that_fail_give_way_with_one_sentence(fused: Fused, answer: Any, reason: str) -> None:
    fused.append(answer)
    assert not fused_choice.takes_fused(None, CUDA)
    note = Engine("torch", "cuda:0").fallback_note()
    assert reason in note and note.startswith("the fused kernels of the dense CRF do not run on cuda:0 (")
    assert note.endswith("): torch operations compute it") and "\n" not in note
    # Another device is tried for itself.
    fused.append(lambda labels: labels)
    assert fused_choice.takes_fused(None, torch.device("cuda", 1))


def test_memory_that_is_too_small_even_for_torch_operations_is_no_reason(fused: Fused) -> None:
    fused.append(UserError("A tile does not fit."))
    with pytest.raises(UserError, match="does not fit"):
        fused_choice.takes_fused(None, CUDA)


def test_a_study_notes_what_failed(fused: Fused, monkeypatch: pytest.MonkeyPatch) -> None:
    fused.append(ModuleNotFoundError("No module named 'triton'"))
    monkeypatch.setattr(faster, "_milliseconds", lambda work: 1.0)
    _, note = faster.faster_engine(Engine("torch", "cuda:0"), 1)
    assert note.endswith("(ModuleNotFoundError: No module named 'triton'): torch operations compute it.")


def test_what_a_caller_wants_needs_no_trial(fused: Fused) -> None:
    assert fused_choice.takes_fused(True, CPU) and not fused_choice.takes_fused(False, CUDA)
    assert not fused_choice.takes_fused(None, CPU) and Engine("torch").fallback_note() == ""


def test_if_they_are_off_nothing_is_tried(fused: Fused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_choice, "FUSED_BY_DEFAULT", False)
    assert not fused_choice.takes_fused(None, CUDA) and fused_choice.fallback_note(CUDA) == ""
