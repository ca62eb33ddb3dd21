"""What a device can do is asked of the device that is used."""

import pytest
import torch

from sonarseg.training.device import needs_scaler


def test_only_chips_before_ampere_need_a_scaler(monkeypatch: pytest.MonkeyPatch) -> None:
    chips = {0: (9, 0), 1: (7, 5), 2: (8, 0)}
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: chips[torch.device(device).index])
    assert [needs_scaler(torch.device("cuda", index)) for index in chips] == [False, True, False]
    assert not needs_scaler(torch.device("cpu"))
