"""Training runs beside what people write: steps a second, Lovász-Softmax, CAMs, start-up, memory.

`make bench-runs` writes benchmarks/results/runs.json. Each side works in a process of its own, so that
neither gains from the other's settings, and both take turns.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results" / "runs.json"
Row = dict[str, Any]
# Of `sonarseg init` without and with a CUDA device
NETWORKS: dict[str, dict[str, Any]] = {
    "cpu": {"encoder": "resnet18", "stages": 2, "output_stride": 8, "decoder_channels": 64},
    "cuda": {"encoder": "resnet50", "decoder_channels": 256},
}
SIZES = {"cpu": 128, "cuda": 256}
BATCH = 16
TILES = 320
SCALES = (1.0, 0.5, 1.5, 2.0)
CAM_TILES = {"cpu": 24, "cuda": 240}
OPEN = "(open: no CUDA device was at hand)"


def row(case: str, mine: float | None, peer: float | None, unit: str, *, larger_is_better: bool) -> Row:
    """A line of the result file; a ratio above 1 is better for us."""
    ratio = None
    if mine is not None and peer is not None:
        ratio = round(mine / peer if larger_is_better else peer / mine, 2)
    rounded = [None if value is None else round(value, 4) for value in (mine, peer)]
    found = {"case": case, "ours": rounded[0], "peer": rounded[1], "unit": unit, "ratio": ratio}
    print(found, flush=True)
    return found


def synchronise(device: str) -> None:
    """Wait for what the device still has to do."""
    if device == "cuda":
        torch.cuda.synchronize()


# ---- the sides, each in a process of its own: a function that prepares, and gives what is timed ----


def our_model(survey_dir: Path, device: str) -> tuple[Any, Any, Any]:
    """Survey, configuration and model of ours, with the tiles in a store."""
    from sonarseg.survey.layout import open_survey
    from sonarseg.survey.scaling import fit_scaling
    from sonarseg.training.config import NetworkConfig, RunConfig, TrainingConfig
    from sonarseg.training.model_file import Model, build_network
    from sonarseg.training.tiles import load_tiles

    survey = open_survey(survey_dir)
    config = RunConfig(
        survey=str(survey_dir),
        network=NetworkConfig(**NETWORKS[device]),
        training=TrainingConfig(warmup_epochs=0, batch_size=BATCH),
        device=device,
    )
    scaling = fit_scaling(survey)
    tiles = load_tiles(
        survey, survey.splits["train"], scaling, 1.0, store=survey_dir.parent / f"tiles-{device}" / "train"
    )
    where = torch.device(device)
    torch.manual_seed(0)
    network = build_network(config.network, scaling.channels, survey.num_classes).to(where)
    model = Model(
        network,
        survey.classes,
        None,
        scaling,
        tiles.normalisation(),
        config.network,
        config.sonar,
        where,
    )
    return survey, config, (model, tiles)


def our_training(survey_dir: Path, device: str) -> Callable[[], int]:
    """One epoch of the trainer with masks as targets."""
    from sonarseg.losses.cross_entropy import cross_entropy
    from sonarseg.training.schedule import plan
    from sonarseg.training.tiles import load_masks
    from sonarseg.training.trainer import Trainer

    survey, config, (model, tiles) = our_model(survey_dir, device)
    targets = load_masks(
        survey.with_masks_of("train"), tiles.names, survey_dir.parent / f"tiles-{device}" / "train-masks"
    )
    labelled = torch.ones(survey.num_classes, dtype=torch.bool, device=model.device)
    trainer = Trainer(model, tiles, labelled, config)
    epoch = plan(config)[0]
    # The loop that is compared with sees every tile once an epoch.
    object.__setattr__(tiles, "multiclass", np.zeros(len(tiles), dtype=bool))

    def work() -> int:
        trainer.train_epoch(epoch, targets, cross_entropy)
        return -(-len(tiles) // BATCH)

    return work


def plain_training(survey_dir: Path, device: str, amp: bool = False) -> Callable[[], int]:
    """One epoch of the plain loop."""
    from plain_training import PlainTiles, PlainTraining

    from sonarseg.network.model import SegmentationNetwork
    from sonarseg.survey.layout import open_survey

    survey = open_survey(survey_dir)
    train = survey.splits["train"]
    tiles = PlainTiles([survey.image_path(t) for t in train], [survey.mask_path(t) for t in train], 0.4, 0.2)
    settings = dict(NETWORKS[device])
    network = SegmentationNetwork(
        settings.pop("encoder"),
        1,
        survey.num_classes,
        **{"output_stride": 16, **settings},
    )
    return PlainTraining(network, tiles, BATCH, torch.device(device), amp).epoch


def plain_amp_training(survey_dir: Path, device: str) -> Callable[[], int]:
    """One epoch of the plain loop with autocast."""
    return plain_training(survey_dir, device, amp=True)


def our_cams(survey_dir: Path, device: str) -> Callable[[], int]:
    """CAMs of some tiles."""
    from sonarseg.training.cams import cam_batches, stream_cams

    _, config, (model, tiles) = our_model(survey_dir, device)
    chosen = range(CAM_TILES[device])
    batches = cam_batches(tiles, chosen, model, config.cam)
    return lambda: len(list(stream_cams(model, tiles, batches, config.cam)))


def plain_cams(survey_dir: Path, device: str) -> Callable[[], int]:
    """CAMs of the same tiles, one forward pass a view."""
    from plain_training import plain_cams as loop

    _, _, (model, tiles) = our_model(survey_dir, device)
    network = model.network.to(memory_format=torch.contiguous_format)
    chosen = range(CAM_TILES[device])

    def work() -> int:
        images = (
            model.normalisation(torch.from_numpy(tiles.pictures[i]).to(model.device)[None].float() / 255)
            for i in chosen
        )
        return len(loop(network, images, SCALES, tiles.shown[: len(chosen)]))

    return work


def _side(connection: Connection, prepare: str, survey_dir: Path, device: str) -> None:
    sys.path.insert(0, str(FOLDER))
    work = globals()[prepare](survey_dir, device)
    work()
    connection.send("ready")
    while connection.recv() == "work":
        synchronise(device)
        started = time.perf_counter()
        done = work()
        synchronise(device)
        connection.send(done / (time.perf_counter() - started))


def rates_in_turn(prepares: list[str], survey_dir: Path, device: str, turns: int) -> list[float]:
    """Median rate of each side, the sides taking turns."""
    context = mp.get_context("spawn")
    sides = []
    for prepare in prepares:
        mine, theirs = context.Pipe()
        # Not daemonic: the plain loop has workers of its own.
        process = context.Process(target=_side, args=(theirs, prepare, survey_dir, device))
        process.start()
        if mine.recv() != "ready":
            raise RuntimeError(f"{prepare} could not be prepared")
        sides.append((mine, process))
    rates: list[list[float]] = [[] for _ in sides]
    for _ in range(turns):
        for place, (connection, _) in enumerate(sides):
            connection.send("work")
            rates[place].append(connection.recv())
    for connection, process in sides:
        connection.send("end")
        process.join()
    return [median(side) for side in rates]


# ---- the cases ----


def simulated(folder: Path, size: int) -> Path:
    """A simulated survey."""
    from sonarseg.simulation.survey import simulate

    survey_dir = folder / f"survey-{size}" / "survey"
    simulate(survey_dir, tiles=TILES, size=size, seed=0)
    return survey_dir


def training_cases(survey_dir: Path, device: str, turns: int) -> list[Row]:
    """Steps a second."""
    size = SIZES[device]
    case = f"training steps, {device}, {NETWORKS[device]['encoder']}, batch {BATCH}, {size} x {size}"
    if device == "cpu":
        ours, plain = rates_in_turn(["our_training", "plain_training"], survey_dir, device, turns)
        return [row(case, ours, plain, "steps/s", larger_is_better=True)]
    sides = ["our_training", "plain_training", "plain_amp_training"]
    ours, plain, amp = rates_in_turn(sides, survey_dir, device, turns)
    return [
        row(case, ours, plain, "steps/s", larger_is_better=True),
        row(f"{case}, plain loop with autocast", ours, amp, "steps/s", larger_is_better=True),
    ]


def cam_case(survey_dir: Path, device: str, turns: int) -> Row:
    """Tiles a second through CAM extraction."""
    case = f"CAM extraction, {device}, 4 scales with flips, {SIZES[device]} x {SIZES[device]}"
    ours, plain = rates_in_turn(["our_cams", "plain_cams"], survey_dir, device, turns)
    return row(case, ours, plain, "tiles/s", larger_is_better=True)


def lovasz_cases(device: str, turns: int) -> list[Row]:
    """Forward and backward of Lovász-Softmax beside segmentation-models-pytorch and kornia."""
    from kornia.losses import lovasz_softmax_loss
    from segmentation_models_pytorch.losses import LovaszLoss

    from sonarseg.losses.lovasz_softmax import lovasz_softmax

    smp = LovaszLoss("multiclass", from_logits=True)
    rows = []
    for classes in (4, 12):
        generator = torch.Generator().manual_seed(classes)
        logits = 2 * torch.randn(8, classes, 256, 256, generator=generator)
        target = torch.randint(0, classes - 1, (8, 256, 256), generator=generator)
        logits, target = logits.to(device).requires_grad_(), target.to(device)
        pairs = {
            "segmentation-models-pytorch": (lovasz_softmax, smp),
            "kornia": (
                lambda x, y: lovasz_softmax(x, y, classes="all", per_image=True),
                lovasz_softmax_loss,
            ),
        }
        for name, sides in pairs.items():
            times: list[list[float]] = [[], []]
            for _ in range(turns + 1):
                values = []
                for place, loss in enumerate(sides):
                    logits.grad = None
                    synchronise(device)
                    started = time.perf_counter()
                    value = loss(logits, target)
                    value.backward()
                    synchronise(device)
                    times[place].append(1e3 * (time.perf_counter() - started))
                    values.append(value.item())
                if abs(values[0] - values[1]) > 1e-5:
                    raise RuntimeError(f"{name}: ours is {values[0]}, theirs {values[1]}")
            # The first turn warms up.
            ours, peer = (median(side[1:]) for side in times)
            case = f"Lovász-Softmax, {device}, batch 8, 256 x 256, {classes} classes, beside {name}"
            rows.append(row(case, ours, peer, "ms", larger_is_better=False))
    return rows


_FIRST_STEP = """
import sys, time
sys.path[:0] = [{folder!r}]
import runs
work = runs.{prepare}(runs.Path({survey!r}), {device!r})
raise SystemExit(runs.until_first_step(work))
"""


def until_first_step(work: Callable[[], int]) -> None:
    """Run `work` up to the end of its first optimiser step, and say so."""
    original = torch.optim.AdamW.step

    def step(self: Any, *arguments: Any, **named: Any) -> Any:
        original(self, *arguments, **named)
        print("first step", flush=True)
        os._exit(0)

    torch.optim.AdamW.step = step  # type: ignore[method-assign]
    work()


def startup_case(survey_dir: Path, device: str, turns: int) -> Row:
    """Seconds from the start of a process to the end of its first step, the tiles being stored."""
    seconds: list[list[float]] = [[], []]
    for _ in range(turns):
        for place, prepare in enumerate(("our_training", "plain_training")):
            program = _FIRST_STEP.format(
                folder=str(FOLDER), prepare=prepare, survey=str(survey_dir), device=device
            )
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
            seconds[place].append(time.perf_counter() - started)
    case = f"from process start to the end of the first step, {device}"
    return row(case, *(median(side) for side in seconds), "s", larger_is_better=False)


_RUN = """
import json, sys, time
from pathlib import Path
from sonarseg.training import run, targets, trainer
seconds = {}
def timed(place, name, part):
    original = getattr(place, name)
    def call(*arguments, **named):
        started = time.perf_counter()
        try:
            return original(*arguments, **named)
        finally:
            seconds[part] = seconds.get(part, 0.0) + time.perf_counter() - started
    setattr(place, name, call)
timed(trainer.Trainer, "train_epoch", "training")
timed(run, "validate", "validation")
timed(run, "save_checkpoint", "checkpoints")
timed(targets.RoundTargets, "of_round", "CAMs, dense CRF and targets")
run.run(Path(sys.argv[1]))
print(json.dumps(seconds))
"""


def not_training_cases(survey_dir: Path, device: str, wanted: float, rate: float) -> list[Row]:
    """Share of a whole run, process start to exit, that is not spent in training epochs."""
    survey_tiles = len((survey_dir / "splits" / "train.txt").read_text().split())
    epochs = max(3, round(wanted * rate / -(-survey_tiles // BATCH)))
    config = {
        "survey": str(survey_dir),
        "network": NETWORKS[device],
        "training": {
            "warmup_epochs": epochs // 3,
            "rounds": 2,
            "epochs_per_round": epochs // 3,
            "batch_size": BATCH,
        },
        "device": device,
    }
    run_dir = survey_dir.parent / f"run-{device}"
    run_dir.mkdir()
    (run_dir / "config.json").write_text(json.dumps(config), encoding="utf-8")
    started = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-c", _RUN, str(run_dir)], check=True, capture_output=True, text=True
    )
    whole = time.perf_counter() - started
    parts = json.loads(ended.stdout.splitlines()[-1])
    parts["start and end"] = whole - sum(parts.values())
    training = parts.pop("training")
    rows = [
        row(
            f"share of a run of {whole:.0f} s that is not training, {device}",
            100 * (1 - training / whole),
            None,
            "%",
            larger_is_better=False,
        )
    ]
    for part, seconds in parts.items():
        rows.append(
            row(f"of which {part}, {device}", 100 * seconds / whole, None, "%", larger_is_better=False)
        )
    return rows


def memory_case(folder: Path, tiles: int) -> Row:
    """Peak of the memory that no file backs, in a run on many listed tiles and in one on a hundredth."""
    from many_tiles import anonymous_peak, list_tiles

    peaks = []
    for count in (tiles, tiles // 100):
        run_dir = list_tiles(folder / f"many-{count}", count)
        peaks.append(anonymous_peak(run_dir))
    case = f"peak memory of a run on {tiles:,} tiles listed ('ours') and on {tiles // 100:,} ('peer')"
    return row(case, *peaks, "MiB", larger_is_better=False)


def main() -> None:
    """Run all cases and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=7, help="turns of each side")
    parser.add_argument("--run-seconds", type=float, default=60, help="length of the whole run on the CPU")
    parser.add_argument("--many", type=int, default=20_000, help="tiles of the memory case")
    arguments = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="sonarseg-bench-") as name:
        folder = Path(name)
        for device in ("cpu", "cuda"):
            if device == "cuda" and not torch.cuda.is_available():
                rows += [
                    row(f"{case} {OPEN}", None, None, unit, larger_is_better=True) for case, unit in CUDA
                ]
                continue
            survey_dir = simulated(folder, SIZES[device])
            rows += training_cases(survey_dir, device, arguments.turns)
            rows += lovasz_cases(device, arguments.turns)
            rows.append(cam_case(survey_dir, device, arguments.turns))
            rows.append(startup_case(survey_dir, device, 3))
            length = arguments.run_seconds if device == "cpu" else 300
            rate = next(
                found["ours"] for found in rows if found["case"].startswith(f"training steps, {device}")
            )
            rows += not_training_cases(survey_dir, device, length, rate)
        rows.append(memory_case(folder, arguments.many))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"written: {RESULTS}")


# Rows that stay open where there is no CUDA device
CUDA = [
    ("training steps, cuda, resnet50, batch 16, 256 x 256", "steps/s"),
    ("training steps, cuda, resnet50, batch 16, 256 x 256, plain loop with autocast", "steps/s"),
    *(
        (f"Lovász-Softmax, cuda, batch 8, 256 x 256, {classes} classes, beside {name}", "ms")
        for classes in (4, 12)
        for name in ("segmentation-models-pytorch", "kornia")
    ),
    ("CAM extraction, cuda, 4 scales with flips, 256 x 256", "tiles/s"),
    ("from process start to the end of the first step, cuda", "s"),
    ("share of a run of 300 s that is not training, cuda", "%"),
]

if __name__ == "__main__":
    main()
