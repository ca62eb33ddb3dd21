"""What CUDA's libraries say when memory runs out is known as that."""

import pytest

from sonarseg.training.failures import is_out_of_memory


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory",
        "Unable to find an engine to execute this computation",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_memory_that_ran_out_is_known_by_what_is_said(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text))
    assert not is_out_of_memory(ValueError(text))


def test_other_errors_are_not_taken_for_it() -> None:
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
