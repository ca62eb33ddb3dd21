"""What a profile of CUDA says about idling."""

from types import SimpleNamespace
from typing import Any

import pytest
from gpu import kernels
from torch.autograd import DeviceType


def event(name: str, start: float, end: float, device: DeviceType = DeviceType.CUDA) -> SimpleNamespace:
    span = SimpleNamespace(start=start, end=end, elapsed_us=lambda: end - start)
    return SimpleNamespace(name=name, time_range=span, device_type=device, is_user_annotation=False)


def pretend_cuda(monkeypatch: pytest.MonkeyPatch, events: list[SimpleNamespace]) -> None:
    class Profile:
        def __init__(self, **_: Any) -> None: ...

        def __enter__(self) -> "Profile":
            return self

        def __exit__(self, *_: object) -> None: ...

        def events(self) -> list[SimpleNamespace]:
            return events

    clock = iter([10.0, 10.001])
    monkeypatch.setattr(kernels, "profile", Profile)
    monkeypatch.setattr("torch.cuda.synchronize", lambda: None)
    monkeypatch.setattr(kernels.time, "perf_counter", lambda: next(clock))


def test_kernels_at_one_time_count_once_and_copies_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = [
        event("void at::native::add<float>(int)", 0, 200),
        event("void at::native::add<float>(long)", 100, 300),
        event("mul", 400, 500),
        event("Memcpy HtoD", 500, 900),
        event("Memset", 900, 910),
        event("on the host", 0, 1000, DeviceType.CPU),
    ]
    pretend_cuda(monkeypatch, events)
    found = kernels.profiled(lambda: None)
    assert found.busy == pytest.approx(400e-6)
    assert found.idle == pytest.approx(0.6)
    assert (found.launches, found.copies) == (3, 2)
    assert found.kernels == [("add", 2, 0.4), ("mul", 1, 0.1)]


def test_a_profile_without_kernels_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cuda(monkeypatch, [event("Memcpy HtoD", 0, 10)])
    with pytest.raises(RuntimeError, match="CUPTI"):
        kernels.profiled(lambda: None)
