import os
import subprocess
import sys
from pathlib import Path

import pynvml
import pytest
import torch

from studies.workers import leases
from studies.workers.leases import DeviceSlot, crf_workers, device_slots, lease

GPUS = [DeviceSlot("cuda:0", 0, "0"), DeviceSlot("cuda:1", 0, "1")]


def test_without_a_gpu_runs_share_the_processor() -> None:
    assert device_slots("cpu", 3) == [DeviceSlot("cpu")]


def test_every_visible_gpu_has_its_seats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert device_slots("auto", 2) == [
        DeviceSlot("cuda:0", 0, "0"),
        DeviceSlot("cuda:1", 0, "1"),
        DeviceSlot("cuda:0", 1, "0"),
        DeviceSlot("cuda:1", 1, "1"),
    ]
    assert device_slots("cuda:1") == [DeviceSlot("cuda:1")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert [slot.visible for slot in device_slots("cuda")] == ["4", "7"]


def test_a_lease_takes_the_next_free_gpu_and_shows_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with lease(GPUS, folder=tmp_path) as first:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
        with lease(GPUS, folder=tmp_path) as second:
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    assert [first, second] == GPUS
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_a_lease_ends_with_its_process_and_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_WAIT_SECONDS", 0.05)
    code = (
        "import sys, time; from pathlib import Path; from studies.workers.leases import DeviceSlot, lease\n"
        "with lease([DeviceSlot('cuda:0', 0, '0')], folder=Path(sys.argv[1])):\n"
        "    print('leased', flush=True); time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "leased\n"
    notes: list[str] = []

    def progress(what: str, done: int, total: int, note: str = "") -> None:
        notes.append(what)
        holder.kill()

    with lease(GPUS[:1], progress, folder=tmp_path) as slot:
        assert slot == GPUS[0]
    assert notes == ["waiting for a free GPU: other studies have them all"]
    holder.wait()
    holder.stdout.close()


def test_jobs_that_number_their_own_gpus_from_0_share_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under Slurm, whose jobs see no GPUs but their own."""
    seen = ["GPU-1"]
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda index: seen[index])
    monkeypatch.setattr(leases, "_WAIT_SECONDS", 0.0)

    def progress(what: str, done: int, total: int, note: str = "") -> None:
        raise TimeoutError

    with lease(GPUS[:1], folder=tmp_path):
        with pytest.raises(TimeoutError), lease([DeviceSlot("cuda:0")], progress, folder=tmp_path):
            raise AssertionError("it was leased twice")
        seen[0] = "GPU-2"
        with lease(GPUS[:1], progress, folder=tmp_path):
            pass
    assert {path.name for path in tmp_path.iterdir()} == {"GPU-1.0", "GPU-2.0"}


def test_an_abbreviated_identity_is_the_same_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identities = ["GPU-aa11-bb", "GPU-aa22-cc", "GPU-dd33-ee"]
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: len(identities))
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda index: identities[index])
    for name in ("GPU-dd33-ee", "GPU-d", "GPU-aa2", "2", "GPU-aa", "MIG-1/2"):
        with lease([DeviceSlot(f"cuda:{name}", 0, name)], folder=tmp_path):
            pass
    # What fits several GPUs is taken as it is, as CUDA sees none then.
    assert {path.name for path in tmp_path.iterdir()} == {
        "GPU-dd33-ee.0",
        "GPU-aa22-cc.0",
        "GPU-aa.0",
        "MIG-1-2.0",
    }


def test_crf_workers_keep_all_cores_busy_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "cpu_count", lambda: 32)
    assert crf_workers("numba", "cpu", tiles=40) == 4
    assert crf_workers("numba", "cpu", tiles=4) == 8
    monkeypatch.setattr(leases, "cpu_count", lambda: 2)
    assert crf_workers("numba", "cpu", tiles=40) == 1
    assert crf_workers("torch", "cpu", tiles=1) == 1
