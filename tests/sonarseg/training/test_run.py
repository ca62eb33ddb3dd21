"""A run is a folder: what it writes, how it resumes, which masks it opens."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonarseg.__main__ import main
from sonarseg.errors import UserError
from sonarseg.files.run_metrics import read_metrics
from sonarseg.metrics.confusion import confusion, unpack_confusions
from sonarseg.survey.layout import Survey
from sonarseg.survey.pictures import read_mask_file
from sonarseg.training.config import RunConfig
from sonarseg.training.failures import RunFailed
from sonarseg.training.run import run
from sonarseg.training.targets.rounds import RoundTargets
from tests.support.run_folders import results, write_run


def without_seconds(run_dir: Path) -> list[dict]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in read_metrics(run_dir)]


def changed(config: RunConfig, **sections: object) -> RunConfig:
    return RunConfig.model_validate(config.model_dump() | sections)


def test_a_run_leaves_metrics_summary_checkpoint_and_masks(tmp_path: Path, tiny_config: RunConfig) -> None:
    run_dir = write_run(tmp_path / "run", tiny_config)
    summary = run(run_dir)
    lines = read_metrics(run_dir)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert [line["round"] for line in lines] == [0, 0, 1, 2]
    assert lines[0]["loss_segmentation"] is None
    assert lines[3]["loss_segmentation"] > 0
    assert summary == json.loads((run_dir / "summary.json").read_text())
    assert summary["metrics"]["miou"] == lines[-1]["miou"]
    assert {p.stem for p in (run_dir / "masks").iterdir()} == set(summary["tiles"])
    assert {p.stem for p in (run_dir / "previews").iterdir()} == set(summary["tiles"][:4])
    assert (run_dir / "legend.png").is_file()
    assert (run_dir / "checkpoint.pt").is_file()


def test_without_val_masks_the_run_still_leaves_its_predictions_of_val(
    tmp_path: Path, tiny_config: RunConfig, tiny_survey: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(tiny_survey, bare)
    tiles = (bare / "splits" / "val.txt").read_text().split()
    for tile in tiles:
        (bare / "masks" / f"{tile}.png").unlink()
    run_dir = write_run(tmp_path / "run", changed(tiny_config, survey=str(bare)))
    assert run(run_dir)["tiles"] == []
    assert {p.stem for p in (run_dir / "masks").iterdir()} == set(tiles)
    assert {p.stem for p in (run_dir / "previews").iterdir()} == set(tiles[:4])
    assert read_mask_file(run_dir / "masks" / f"{tiles[0]}.png").max() < 3


def test_the_summary_holds_the_confusions_of_the_prediction_cut_to_the_labels(
    tmp_path: Path, tiny_config: RunConfig
) -> None:
    summary = run(write_run(tmp_path / "run", tiny_config))
    free, cut = (unpack_confusions(summary[name]) for name in ("confusions", "confusions_shown"))
    np.testing.assert_array_equal(cut.sum(axis=2), free.sum(axis=2))
    # The masks of this survey show what its labels show.
    shown = free.sum(axis=2) > 0
    assert not cut[~np.broadcast_to(shown[:, None], cut.shape)].any()
    assert free[~np.broadcast_to(shown[:, None], free.shape)].any()
    warm_up = changed(tiny_config, stage="warm-up")
    assert run(write_run(tmp_path / "warm-up", warm_up))["confusions_shown"] is None


def test_the_summary_holds_the_confusions_of_the_masks_it_wrote(
    tmp_path: Path, tiny_config: RunConfig, tiny_survey: Path
) -> None:
    run_dir = write_run(tmp_path / "run", tiny_config)
    summary = run(run_dir)
    for tile, matrix in zip(summary["tiles"], unpack_confusions(summary["confusions"]), strict=True):
        truth = np.asarray(Image.open(tiny_survey / "masks" / f"{tile}.png"))
        predicted = np.asarray(Image.open(run_dir / "masks" / f"{tile}.png"))
        np.testing.assert_array_equal(matrix, confusion(truth, predicted, 3))


def test_train_masks_do_not_matter(tmp_path: Path, tiny_config: RunConfig, tiny_survey: Path) -> None:
    noisy = tmp_path / "noisy"
    shutil.copytree(tiny_survey, noisy)
    rng = np.random.default_rng(1)
    for tile in (noisy / "splits" / "train.txt").read_text().split():
        Image.fromarray(rng.integers(0, 3, (24, 32), dtype=np.uint8)).save(noisy / "masks" / f"{tile}.png")
    clean_run = write_run(tmp_path / "clean-run", tiny_config)
    noisy_run = write_run(tmp_path / "noisy-run", changed(tiny_config, survey=str(noisy)))
    run(clean_run)
    run(noisy_run)
    assert without_seconds(clean_run) == without_seconds(noisy_run)


def test_supervision_by_masks_opens_train_masks_and_labels_do_not(
    tmp_path: Path, tiny_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: set[str] = set()
    original = Survey.read_mask

    def spy(self: Survey, tile: str) -> np.ndarray:
        opened.add(tile)
        return original(self, tile)

    monkeypatch.setattr(Survey, "read_mask", spy)
    run(write_run(tmp_path / "labels", tiny_config))
    assert opened == {f"t{n}" for n in range(10, 14)}
    opened.clear()
    run(write_run(tmp_path / "masks", changed(tiny_config, supervision="masks")))
    assert {f"t{n:02d}" for n in range(10)} <= opened
    assert not opened & {"t14", "t15"}


def test_a_run_on_single_label_tiles_uses_no_pseudo_labels(tmp_path: Path, tiny_config: RunConfig) -> None:
    run_dir = write_run(tmp_path / "run", changed(tiny_config, supervision="single-label"))
    run(run_dir)
    assert not (run_dir / "pseudo_labels").exists()


def test_self_training_starts_from_a_warm_up(tmp_path: Path, tiny_config: RunConfig) -> None:
    warm_up = write_run(tmp_path / "warm-up", changed(tiny_config, stage="warm-up"))
    run(warm_up)
    assert "miou" not in read_metrics(warm_up)[0]
    second = write_run(tmp_path / "second", changed(tiny_config, stage="self-training", warm_up="../warm-up"))
    run(second)
    full = write_run(tmp_path / "full", tiny_config)
    run(full)
    assert [line["round"] for line in read_metrics(second)] == [1, 2]
    starts = [
        read_metrics(second)[0]["val_loss_classification"],
        read_metrics(full)[0]["val_loss_classification"],
    ]
    assert starts[0] < starts[1]


def test_a_loss_that_is_not_finite_ends_the_run_with_the_reason(
    tmp_path: Path, tiny_config: RunConfig
) -> None:
    training = tiny_config.training.model_dump() | {"learning_rate": 1e30, "clip_norm": 1e30}
    run_dir = write_run(tmp_path / "run", changed(tiny_config, training=training))
    with pytest.raises(RunFailed, match="not finite"):
        run(run_dir)
    assert "not finite" in json.loads((run_dir / "failure.json").read_text())["reason"]
    assert not (run_dir / "summary.json").exists()


@pytest.mark.parametrize("finished", [True, False])
def test_changed_settings_of_a_run_that_began_are_refused(
    tmp_path: Path, tiny_config: RunConfig, finished: bool
) -> None:
    run_dir = write_run(tmp_path / "run", tiny_config)
    summary = run(run_dir)
    # Where it is computed does not count.
    (run_dir / "config.json").write_text(changed(tiny_config, device="auto").model_dump_json())
    assert run(run_dir) == summary
    if not finished:
        (run_dir / "summary.json").unlink()
    (run_dir / "config.json").write_text(changed(tiny_config, seed=5).model_dump_json())
    with pytest.raises(UserError, match="changed after this run began"):
        run(run_dir)


@pytest.mark.parametrize("content", [None, "{", '{"survey": "x", "lerning_rate": 1}'])
def test_a_wrong_config_is_one_sentence_and_code_2(
    tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert main([str(tmp_path)]) == 2
    finally:
        signal.signal(signal.SIGTERM, handler)
    told = capsys.readouterr().err
    assert "config.json" in told
    assert len(told.strip().splitlines()) == 1


class Thing:
    """Something that a weak reference can point at."""


def test_a_sigterm_that_python_drops_ends_the_run_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swallow(run_dir: Path) -> int:
        thing = Thing()
        watched = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        del thing
        assert watched() is None
        time.sleep(5)
        return 0

    monkeypatch.setattr("sonarseg.__main__._train", swallow)
    handler, hook = signal.getsignal(signal.SIGTERM), sys.unraisablehook
    try:
        assert main([str(tmp_path)]) == 143
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert sys.unraisablehook is hook
    assert "ended by SIGTERM" in (tmp_path / "log.txt").read_text()


def test_a_terminated_process_goes_on_later(tmp_path: Path, tiny_config: RunConfig) -> None:
    training = tiny_config.training.model_dump() | {"epochs_per_round": 8}
    config = changed(tiny_config, training=training)
    run_dir, undisturbed = (write_run(tmp_path / name, config) for name in ("run", "undisturbed"))
    command = [sys.executable, "-m", "sonarseg", str(run_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 4/"):
            process.send_signal(signal.SIGTERM)
            break
    process.stdout.read()
    assert process.wait() == 143
    before = read_metrics(run_dir)
    assert 4 <= len(before) < 18
    run(run_dir)
    after = read_metrics(run_dir)
    assert len(after) == 18
    assert after[: len(before)] == before
    run(undisturbed)
    assert results(run_dir) == results(undisturbed)


@pytest.mark.parametrize("supervision", ["masks", "labels"])
def test_a_run_killed_while_writing_its_summary_has_the_class_frequencies(
    tmp_path: Path, tiny_config: RunConfig, supervision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = write_run(tmp_path / "run", changed(tiny_config, supervision=supervision))
    with monkeypatch.context() as killed:
        killed.setattr(RoundTargets, "clean", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(run_dir)
    summary = run_dir / "summary.json"
    frequencies = json.loads(summary.read_text())["frequencies"]
    assert len(frequencies) == 3
    summary.unlink()
    assert run(run_dir)["frequencies"] == frequencies


def interrupt(_: RoundTargets) -> None:
    raise KeyboardInterrupt
