"""Energy as the driver tells it; a stand-in takes the driver's place."""

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch

from sonarseg.training.run_folder import cost
from sonarseg.training.run_folder.energy import joules_so_far

CUDA = torch.device("cuda", 0)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the driver tells: millijoules, or an error."""
    told: dict[str, Any] = {"millijoules": 5_000}

    def total(handle: str) -> int:
        assert handle == "handle of GPU-1234"
        if told["millijoules"] is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return int(told["millijoules"])

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: f"handle of {uuid}")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", total)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 0)
    return told


def test_a_cpu_tells_nothing() -> None:
    assert joules_so_far(torch.device("cpu")) is None
    assert cost.Spent(torch.device("cpu")).now()["joules"] is None


def test_energy_of_all_starts_is_added_up(driver: dict[str, Any]) -> None:
    first = cost.Spent(CUDA)
    driver["millijoules"] = 12_500
    assert first.now()["joules"] == 7.5
    second = cost.Spent(CUDA)
    second.goes_on(first.now())
    driver["millijoules"] = 13_000
    assert second.now()["joules"] == 8.0


def test_a_silent_driver_makes_the_energy_unknown(driver: dict[str, Any]) -> None:
    driver["millijoules"] = None
    first = cost.Spent(CUDA)
    assert first.now()["joules"] is None
    driver["millijoules"] = 1_000
    second = cost.Spent(CUDA)
    second.goes_on(first.now())
    assert second.now()["joules"] is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
def test_a_real_driver_counts_upwards() -> None:
    before = joules_so_far(CUDA)
    after = joules_so_far(CUDA)
    assert before is None or (after is not None and after >= before > 0)
