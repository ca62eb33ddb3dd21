"""What a run goes on from: whole checkpoints, the same survey, wherever it lies; anything else is refused."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from sonarseg.densecrf.engines.base import Engine
from sonarseg.errors import UserError
from sonarseg.training.batch_size import choose_batch_size, start_over
from sonarseg.training.checkpoint import files as checkpoint_files
from sonarseg.training.checkpoint.files import CHECKPOINT, PREVIOUS
from sonarseg.training.run import run
from sonarseg.training.run_folder.record import LOG, read_summary
from tests.support.run_folders import Whole, results, stopped_after, write_run


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip_a_bit, Path.unlink])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, whole: Whole, damage: Callable[[Path], None]
) -> None:
    config, undisturbed = whole
    run_dir = write_run(tmp_path / "run", config)
    stopped_after(run_dir, 9)
    damage(run_dir / CHECKPOINT)
    said: list[str] = []
    run(run_dir, lambda *told: said.append(str(told[-1])))
    assert results(run_dir) == results(undisturbed)
    assert "resumed after epoch 8" in (run_dir / LOG).read_text()
    assert damage is Path.unlink or any(
        "checkpoint.pt was damaged" in s and "after epoch 8" in s for s in said
    )


@pytest.mark.parametrize("damage", [cut, flip_a_bit, Path.unlink])
def test_a_finished_run_that_lost_its_checkpoint_trains_its_last_epoch_again(
    tmp_path: Path, whole: Whole, damage: Callable[[Path], None]
) -> None:
    undisturbed = whole[1]
    run_dir = tmp_path / "run"
    shutil.copytree(undisturbed, run_dir)
    damage(run_dir / CHECKPOINT)
    with pytest.raises(UserError, match=rf"sonarseg run {run_dir}`"):
        checkpoint_files.load_checkpoint(run_dir / CHECKPOINT, torch.device("cpu"))
    # Interrupted once more, when the summary is gone
    stopped_after(run_dir, 12)
    assert "resumed after epoch 11" in (run_dir / LOG).read_text()
    run(run_dir)
    assert results(run_dir) == results(undisturbed)
    ours, theirs = (torch.load(folder / CHECKPOINT)["network"] for folder in (run_dir, undisturbed))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    kept = [path.name for path in (run_dir / "pseudo_labels" / "round-1").iterdir()]
    assert kept == ["frequencies.npy"]


def test_two_damaged_checkpoints_begin_the_run_anew(tmp_path: Path, whole: Whole) -> None:
    config, undisturbed = whole
    run_dir = write_run(tmp_path / "run", config)
    stopped_after(run_dir, 3)
    cut(run_dir / CHECKPOINT)
    flip_a_bit(run_dir / PREVIOUS)
    run(run_dir)
    assert results(run_dir) == results(undisturbed)
    assert "begins anew" in (run_dir / LOG).read_text()


def test_a_run_that_starts_over_uses_nothing_of_the_network_it_gave_up(tmp_path: Path, whole: Whole) -> None:
    config, _ = whole
    run_dir, small = (write_run(tmp_path / name, config) for name in ("run", "small"))
    stopped_after(run_dir, 9)
    start_over(run_dir, 2, "memory ran out with 4")
    run(run_dir)
    choose_batch_size(small, 2, "asked for")
    run(small)
    assert results(run_dir) == results(small)


def test_a_survey_that_was_changed_meanwhile_is_refused(tmp_path: Path, whole: Whole) -> None:
    config, _ = whole
    survey = tmp_path / "survey"
    shutil.copytree(config.survey, survey)
    run_dir = write_run(tmp_path / "run", config.model_copy(update={"survey": str(survey)}))
    stopped_after(run_dir, 3)
    labels = survey / "labels.csv"
    lines = labels.read_text().splitlines()
    flipped = [lines[0], *(line[:-1] + ("0" if line[-1] == "1" else "1") for line in lines[1:])]
    labels.write_text("\n".join(flipped) + "\n")
    with pytest.raises(UserError, match=r"changed after the run .* began: start a new run folder"):
        run(run_dir)
    labels.write_text("\n".join(lines) + "\n")
    run(run_dir)


def test_a_finished_run_that_cannot_go_on_keeps_its_summary(tmp_path: Path, whole: Whole) -> None:
    survey, run_dir = tmp_path / "survey", tmp_path / "run"
    shutil.copytree(whole[0].survey, survey)
    run(write_run(run_dir, whole[0].model_copy(update={"survey": str(survey)})))
    before = (run_dir / "summary.json").read_bytes()
    cut(run_dir / CHECKPOINT)
    mirror(survey / "images" / "t01.png")
    with pytest.raises(UserError, match=r"changed after the run .* began"):
        run(run_dir)
    assert (run_dir / "summary.json").read_bytes() == before


def swap(one: Path, other: Path) -> None:
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)


def mirror(path: Path) -> None:
    Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)


def rename_a_class(survey: Path) -> None:
    for name in ("classes.txt", "labels.csv"):
        path = survey / name
        path.write_text(path.read_text().replace("mud", "silt"))


# What hides from counts of grey levels, of classes and of tiles
CHANGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "train images swapped": ("labels", lambda s: swap(s / "images/t00.png", s / "images/t06.png")),
    "val masks swapped": ("labels", lambda s: swap(s / "masks/t10.png", s / "masks/t12.png")),
    "val mask mirrored": ("labels", lambda s: mirror(s / "masks/t11.png")),
    "train mask mirrored": ("masks", lambda s: mirror(s / "masks/t01.png")),
    "class renamed": ("labels", rename_a_class),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_leaves_all_counts_alone_is_refused(tmp_path: Path, whole: Whole, change: str) -> None:
    supervision, make = CHANGES[change]
    survey = tmp_path / "survey"
    shutil.copytree(whole[0].survey, survey)
    config = whole[0].model_copy(update={"survey": "../survey", "supervision": supervision})
    run_dir = write_run(tmp_path / "run", config)
    stopped_after(run_dir, 1)
    make(survey)
    with pytest.raises(UserError, match=r"changed after the run .* began: start a new run folder"):
        run(run_dir)


@pytest.mark.parametrize("supervision", ["labels", "masks"])
def test_a_workspace_that_was_moved_resumes(tmp_path: Path, whole: Whole, supervision: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(whole[0].survey, here / "survey")
    config = whole[0].model_copy(update={"survey": "../survey", "supervision": supervision})
    run_dir = write_run(here / "run", config)
    stopped_after(run_dir, 2)
    # Without times, as another machine would get it
    shutil.copytree(here, there, copy_function=shutil.copyfile)
    shutil.rmtree(there / "run" / "tiles")
    for place in (here, there):
        if supervision == "labels":
            mirror(place / "survey" / "masks" / "t01.png")
        stopped_after(place / "run", 3)
        assert "resumed after epoch 2" in (place / "run" / LOG).read_text()


def test_pictures_that_change_names_are_noticed_though_their_sizes_and_times_are_alike(
    tmp_path: Path, whole: Whole
) -> None:
    survey = tmp_path / "survey"
    shutil.copytree(whole[0].survey, survey)
    one, other, kept = (survey / "images" / name for name in ("t00.tif", "t06.tif", "kept"))
    for path in (one, other):
        Image.open(path.with_suffix(".png")).save(path)
        path.with_suffix(".png").unlink()
        os.utime(path, ns=(10**18, 10**18))
    assert one.stat().st_size == other.stat().st_size
    run_dir = write_run(tmp_path / "run", whole[0].model_copy(update={"survey": "../survey"}))
    stopped_after(run_dir, 1)
    for source, target in ((one, kept), (other, one), (kept, other)):
        source.rename(target)
    assert one.stat().st_mtime_ns == other.stat().st_mtime_ns == 10**18
    with pytest.raises(UserError, match=r"changed after the run .* began"):
        run(run_dir)


def test_first_pseudo_labels_that_are_gone_are_not_made_from_another_network(
    tmp_path: Path, whole: Whole
) -> None:
    warm_up, first = tmp_path / "warm-up", tmp_path / "first"
    training = whole[0].training.model_copy(update={"warmup_epochs": 1, "epochs_per_round": 2})
    config = whole[0].model_copy(update={"training": training})
    run(write_run(warm_up, config.model_copy(update={"stage": "warm-up"})))
    shared = {"stage": "self-training", "warm_up": "../warm-up", "first_pseudo_labels": "../first"}
    run_dir = write_run(tmp_path / "run", config.model_copy(update=shared))
    stopped_after(run_dir, 1)
    first.rename(tmp_path / "away")
    with pytest.raises(UserError, match=r"first is missing: .* Put it back from a copy"):
        run(run_dir)
    assert not first.exists()
    (tmp_path / "away").rename(first)
    run(run_dir)
    labels = {path: path.read_bytes() for path in first.iterdir()}
    undisturbed = write_run(tmp_path / "undisturbed", config.model_copy(update=shared))
    run(undisturbed)
    assert results(run_dir) == results(undisturbed)
    assert {path: path.read_bytes() for path in first.iterdir()} == labels
    # A finished run that trains its last epoch again leaves nothing in a folder that is not its own.
    shutil.rmtree(first)
    (run_dir / CHECKPOINT).unlink()
    with pytest.raises(UserError, match="first is missing"):
        run(run_dir)
    assert not first.exists()
    assert (run_dir / "summary.json").is_file()


def test_a_finished_run_whose_summary_was_damaged_goes_on_without_it(tmp_path: Path, whole: Whole) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(whole[1], run_dir)
    (run_dir / "summary.json").write_bytes(b"{")
    with pytest.raises(UserError, match="delete it, and the run goes on from its last checkpoint"):
        run(run_dir)
    (run_dir / "summary.json").unlink()
    run(run_dir)
    assert results(run_dir) == results(whole[1])


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("summary.json", b"\xff\xfe", r"summary.json is damaged .*: delete it, and the run goes on"),
        ("summary.json", b"[]", r"summary.json is damaged .*no JSON object"),
        ("summary.json", b"{}", r"config.json was changed after this run began"),
        ("batch_size.json", b"{", r"batch_size.json is damaged .*: put a copy back"),
        ("batch_size.json", b"{}", r"batch_size.json is damaged .*batch_size is None"),
        ("config.json", b"\xff\xfe{}", r"config.json is not UTF-8 text"),
    ],
)
def test_damaged_files_of_a_run_are_one_sentence(
    tmp_path: Path, whole: Whole, name: str, content: bytes, sentence: str
) -> None:
    run_dir = write_run(tmp_path / "run", whole[0])
    (run_dir / name).write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        run(run_dir)


def test_the_log_says_what_computes_and_what_has_changed(
    tmp_path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = write_run(tmp_path / "run", whole[0])
    stopped_after(run_dir, 5)
    assert "begins on cpu, dense CRF by numba" in (run_dir / LOG).read_text()
    monkeypatch.setattr(
        "sonarseg.training.run_folder.compute_environment.pick_engine", lambda *_: Engine("pydensecrf")
    )
    assert run(run_dir)["crf_engine"] == "pydensecrf"
    assert "goes on with the dense CRF by pydensecrf instead of numba" in (run_dir / LOG).read_text()
    assert read_summary(whole[1])["crf_engine"] == "numba"


def test_other_threads_than_before_are_noted(
    tmp_path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = write_run(tmp_path / "run", whole[0])
    stopped_after(run_dir, 3)
    monkeypatch.setattr("torch.get_num_threads", lambda: 97)
    run(run_dir)
    assert "goes on with 97 threads instead of" in (run_dir / LOG).read_text()
    assert read_summary(run_dir)["threads"] == 97


def test_every_bit_of_the_weights_is_checked(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    checkpoint_files.save_checkpoint(path, {"network": {"weight": torch.arange(64.0)}})
    content = path.read_bytes()
    start = content.index(torch.arange(64.0).numpy().tobytes())
    for position in range(start, start + 256, 5):
        path.write_bytes(content[:position] + bytes([content[position] ^ 16]) + content[position + 1 :])
        with pytest.raises(UserError, match=r"cannot be read as a checkpoint \(the checksum"):
            checkpoint_files.load_checkpoint(path, torch.device("cpu"))
