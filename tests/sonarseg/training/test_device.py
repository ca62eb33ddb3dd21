"""What a device can do is asked of the device that is used."""

import os
from functools import partial

import pytest
import torch

from sonarseg.errors import UserError
from sonarseg.training.checkpoint.model import build_network
from sonarseg.training.config import NetworkConfig
from sonarseg.training.device import (
    USABLE_SHARE,
    autocast,
    available_bytes,
    begin_run,
    cuda_devices,
    make_deterministic,
    needs_scaler,
    pick_device,
)
from tests.support.simulated_cuda import simulated_cuda


def test_only_chips_before_ampere_need_a_scaler(monkeypatch: pytest.MonkeyPatch) -> None:
    chips = {0: (9, 0), 1: (7, 5), 2: (8, 0)}
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: chips[torch.device(device).index])
    assert [needs_scaler(torch.device("cuda", index)) for index in chips] == [False, True, False]
    assert not needs_scaler(torch.device("cpu"))


@pytest.mark.parametrize(("capability", "dtype"), [((9, 0), torch.bfloat16), ((7, 5), torch.float16)])
def test_cuda_computes_in_what_the_chip_has(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    asked = {}
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    monkeypatch.setattr("torch.autocast", lambda kind, **options: asked.update(options, kind=kind))
    autocast(torch.device("cuda", 0))
    assert asked == {"kind": "cuda", "dtype": dtype, "enabled": True}


def test_the_cpu_computes_in_float32() -> None:
    with autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize("encoder", ["resnet18", "resnet50"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_convolution_gets_and_gives_channels_last(encoder: str, channels: int) -> None:
    network = build_network(NetworkConfig(encoder=encoder, weights="none"), channels, 4).eval()
    wrong: list[str] = []

    def look(module: torch.nn.Module, given: tuple[torch.Tensor], result: torch.Tensor) -> None:
        if not result.is_contiguous(memory_format=torch.channels_last):
            wrong.append(str(module))

    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    for module in convolutions:
        module.register_forward_hook(look)
    features = network.encode(torch.rand(2, channels, 64, 64))
    network.classify(features)
    network.decode(features, (64, 64))
    assert len(convolutions) > 20
    assert wrong == []


@pytest.mark.parametrize("wanted", [True, False])
def test_memory_is_not_filled_in_either_mode(monkeypatch: pytest.MonkeyPatch, wanted: bool) -> None:
    """Nothing reads it before it is written, and filling it nearly doubles the time of a step."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        make_deterministic(wanted)
        assert torch.are_deterministic_algorithms_enabled() == wanted
        assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    finally:
        make_deterministic(False)


@pytest.mark.parametrize(
    ("runs", "free", "held", "expected"),
    # Alone a run may take what is free, up to 95 of 100; two leave each other their part.
    [(1, 60, 0, 60), (1, 100, 0, 95), (2, 100, 0, 47), (2, 30, 10, 30), (2, 90, 40, 7), (2, 90, 50, 0)],
)
def test_runs_that_share_a_device_keep_to_their_part(
    monkeypatch: pytest.MonkeyPatch, runs: int, free: int, held: int, expected: int
) -> None:
    fractions: dict[torch.device, float] = {}
    monkeypatch.setattr(
        "torch.cuda.set_per_process_memory_fraction", lambda share, device: fractions.update({device: share})
    )
    current: list[torch.device] = []
    monkeypatch.setattr("torch.cuda.set_device", current.append)
    monkeypatch.setattr("torch.cuda.get_per_process_memory_fraction", fractions.__getitem__)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (free, 100))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: held)
    device = torch.device("cuda", 0)
    begin_run(device, runs)
    begin_run(torch.device("cpu"), runs)
    assert available_bytes(device) == expected
    assert current == [device]


def test_a_device_without_a_number_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    plain, second = torch.device("cuda"), torch.device("cuda", 1)
    with simulated_cuda(2) as gpus:
        begin_run(second, 1)
        begin_run(plain, 4)
        assert gpus.current == [second, second]
        assert gpus.fractions == {second: USABLE_SHARE / 4}
        assert available_bytes(plain) == available_bytes(second) < available_bytes(torch.device("cuda", 0))


def test_the_simulation_wants_a_number_where_torch_does() -> None:
    device = torch.device("cuda")
    with pytest.raises(ValueError, match="specified index"):
        torch.cuda.set_device(device)
    with simulated_cuda(1):
        for call in (
            torch.cuda.set_device,
            torch.cuda.get_per_process_memory_fraction,
            partial(torch.cuda.set_per_process_memory_fraction, 0.5),
        ):
            with pytest.raises(ValueError, match="specified index"):
                call(device)


@pytest.fixture
def asked_cuda(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two devices by the driver's library; whoever asks CUDA itself is noted."""
    asked: list[str] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch._C._cuda_getDeviceCount", lambda: asked.append("CUDA") or 2, raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return asked


def test_a_device_is_picked_with_its_number(asked_cuda: list[str]) -> None:
    picked = [str(pick_device(name)) for name in ("auto", "cuda", "cuda:1", "cpu")]
    assert picked == ["cuda:0", "cuda:0", "cuda:1", "cpu"]
    with pytest.raises(UserError, match=r'"cuda:2" was asked for, but there are only 2 CUDA devices'):
        pick_device("cuda:2")


def test_partitions_are_counted_by_their_names(
    asked_cuda: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch would ask CUDA for them, which then sees the same devices to the end of the process."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: pytest.fail("torch was asked"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a,MIG-b,MIG-c")
    assert cuda_devices() == 3
    assert str(pick_device("cuda:2")) == "cuda:2"


def test_devices_are_looked_for_without_cuda() -> None:
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == "1"
