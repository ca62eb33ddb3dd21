"""`gpu_check.py --cpu`: what the steps do on CUDA, at tiny sizes here."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import gpu_check
import pytest
from gpu.check import Check
from gpu.deterministic import differing_tensors
from gpu.device_memory import DeviceMemoryWatch
from gpu.step import run_step
from gpu.steps import Step
from gpu.stored_rows import read_lines
from gpu.surveys import simulate_all
from gpu.tune import small_budget
from result_rows import RESULTS


@pytest.fixture(scope="module", autouse=True)
def threads() -> Iterator[None]:
    """The benchmark of the dense CRF sets this for its process, here for those of later tests too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Check:
    work = tmp_path_factory.mktemp("gpu-check")
    simulate_all(work, "cpu")
    return Check("cpu", "abc", work, work / "rows.jsonl")


def cases(check: Check) -> list[str]:
    """Cases of the rows that were kept since the last call."""
    found = [str(row["case"]) for row in read_lines(check.rows)]
    check.rows.unlink()
    return found


def test_the_command_writes_rows_with_card_and_commit(tmp_path: Path) -> None:
    assert gpu_check.main(["--cpu", "--only", "lovasz", "--commit", "abc", "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "cuda.json").read_text())
    assert [row["case"] for row in rows][-1] == "Lovász-Softmax, cpu, batch 2, 32 x 32, 12 classes; cpu, abc"
    assert all(row["ours"] > 0 for row in rows)
    assert "[lovasz]" in (tmp_path / "gpu_check.log").read_text()


def test_rows_of_the_cpu_never_become_results(capsys: pytest.CaptureFixture[str]) -> None:
    before = (RESULTS / "cuda.json").read_bytes()
    with pytest.raises(SystemExit, match="2"):
        gpu_check.main(["--cpu"])
    assert "name another folder by --out" in capsys.readouterr().err
    assert (RESULTS / "cuda.json").read_bytes() == before


def test_the_dense_crf_beside_pydensecrf(check: Check) -> None:
    assert run_step("crf", check) == []
    rows = {row["case"].split(";")[0]: row for row in read_lines(check.rows)}
    assert rows["dense CRF, labels equal to pydensecrf's"]["ours"] == 100
    assert rows["dense CRF, labels equal to numba's, worst tile of 8 widths"]["ours"] == 100
    beside = rows["dense CRF, 2 tiles of 32 x 32 x 6, all transfers included, beside 1 core of pydensecrf"]
    assert beside["ratio"] == pytest.approx(beside["peer"] / beside["ours"], rel=0.05)
    check.rows.unlink()


def test_steps_of_training(check: Check) -> None:
    assert run_step("training", check) == []
    assert [case.split(";")[0].removeprefix("a step, batch 16, ") for case in cases(check)] == [
        "cross-entropy",
        "lovasz_softmax",
        "cross-entropy, deterministic = true",
        "cross-entropy, deterministic = true, empty memory filled",
    ]


def test_a_crf_trial_by_both_engines(check: Check) -> None:
    assert run_step("study", check) == []
    assert read_lines(check.rows)[-1]["ours"] < 0.1
    assert len(cases(check)) == 3


def test_a_batch_by_itself_in_little_memory(check: Check) -> None:
    assert run_step("out_of_memory", check) == []
    assert len(cases(check)) == 2


def test_the_small_study_keeps_every_other_field(check: Check) -> None:
    toml = "[training]\nwarmup_epochs = 20\n[crf]\nx = 1\ntrials = 200\n"
    with pytest.raises(RuntimeError, match=r"study\.toml has rounds 0 times"):
        small_budget(toml, check)


def test_tensors_that_differ_are_counted(tmp_path: Path) -> None:
    import torch

    from sonarseg.training.checkpoint.files import CHECKPOINT

    for name, value in (("one", 1.0), ("other", 2.0)):
        (tmp_path / name).mkdir()
        network = {"a": torch.tensor([value]), "b": torch.tensor([0.0])}
        torch.save({"network": network}, tmp_path / name / CHECKPOINT)
    assert differing_tensors(tmp_path / "one", tmp_path / "other") == 1
    assert differing_tensors(tmp_path / "one", tmp_path / "one") == 0


def test_only_processes_of_the_program_are_watched() -> None:
    import os
    import subprocess

    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        watch = DeviceMemoryWatch(os.getpid())
        watch.note({os.getpid(): 5, child.pid: 7, 1: 100})
        watch.note({os.getpid(): 4, child.pid: 9})
        assert watch.most == {os.getpid(): 5, child.pid: 9}
        assert "input()" in watch.names[child.pid]
    finally:
        child.communicate(b"\n")


def test_a_second_call_keeps_what_the_first_one_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def a_step(parent: gpu_check.Parent, steps: list[Step]) -> None:
        (step,) = steps
        row = {"case": f"{step.name}; card, abc", "ours": 1, "peer": None, "unit": "ms", "ratio": None}
        parent.rows(step).write_text(json.dumps(row) + "\n")
        parent.log.write(f"[{step.name}]\n")
        parent.after_step()

    monkeypatch.setattr(gpu_check.Parent, "all_steps", a_step)
    for name in ("crf_fused", "training"):
        gpu_check.main(["--cpu", "--only", name, "--commit", "abc", "--out", str(tmp_path)])
    rows = json.loads((tmp_path / "cuda.json").read_text())
    assert [row["case"].split(";")[0] for row in rows] == ["crf_fused", "training"]
    assert (tmp_path / "gpu_check.log").read_text() == "[crf_fused]\n[training]\n"
