"""Write a study.toml that fits a survey and the machine, every field explained in a line."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sonarseg.errors import UserError
from sonarseg.files.whole import write_atomically
from sonarseg.survey.layout import Survey
from studies.config import STUDY_TOML, StudyConfig

# On CPU a network that is trained from end to end sees the median tile at this many pixels at most.
CPU_TILE_PIXELS = 128 * 128
# A frozen encoder, which sees each tile once, at this many on any device
FROZEN_TILE_PIXELS = 512 * 512
# Of all train tiles: so many an encoder is tuned on within some minutes on a CPU
FINE_TUNE_MEGAPIXELS = 60
# Tiles whose shorter side is less than this many pixels have feature cells of half the usual size.
SMALL_TILE, CELL = 160, 8
# Tiles whose size is looked at
SIZE_SAMPLE = 100
_SCALE_STEP = 0.25

# What a field without a value could be
_EXAMPLES = {
    "background": '""',
    "patience": "40",
    "setting": '"paper"',
    "trials": "30",
    "branch_channels": "64",
    "warmup_rate": "2e-3",
}
_COMMENTS = {
    "name": "Name of this study, shown in the report.",
    "survey": "Folder of the survey, relative to this file or absolute.",
    "background": "Class that every tile may hold and no image-level label speaks of.",
    "seed": "Every random draw follows from it.",
    "device": '"auto" takes CUDA where there is one; else "cpu", "cuda" or "cuda:1".',
    "metric": 'Maximised on val: "miou_multiclass" (tiles with two or more classes) or "miou" (all tiles).',
    "sonar": "How the tiles lie to the sonar: flips that turn the shadows round are not used.",
    "sonar.range_axis": 'Direction away from the sonar in a tile: "horizontal" or "vertical".',
    "sonar.both_sides": "true where a tile shows port and starboard.",
    "network": "The network of every run.",
    "network.encoder": '"resnet18", 34, 50, 101, "mobilenet_v3_large", "efficientnet_lite0" or "timm:NAME".',
    "network.weights": '"none", "imagenet" (efficientnet_lite0: in a package; else downloaded), or a file.',
    "network.encoder_training": '"end-to-end", "frozen" (heads on features), "fine-tune" (first tuned).',
    "network.stages": "Stages of the encoder that are kept, 2 to 4: fewer see less far, the CAMs stay local.",
    "network.output_stride": "8 (finer, slower) or 16.",
    "network.decoder_channels": "Width of the decoder, 8 to 512.",
    "network.tile_scale": "Tiles are resized by this factor for the network; maps keep the tile's size.",
    "network.cell": "Frozen encoder: side of a feature cell in pixels of the resized tile.",
    "network.local_statistics": "Frozen encoder: add local statistics of the amplitude to its features.",
    "network.branch_channels": "Frozen encoder: width of the classification branch, if not the decoder's.",
    "network.feature_gb": "Frozen encoder: gigabytes that the features of a split may take on disk.",
    "cam": "Class activation maps (CAM), and the cam study, which searches their settings.",
    "cam.trials": "Trials of the cam study, named settings and more seeds included; 0 searches nothing.",
    "cam.sampler": 'As under [crf], but "grid".',
    "cam.patience": "Stop after so many trials without a better value.",
    "cam.seeds": "Seeds the best five settings are run with.",
    "cam.setting": 'A named setting as a whole: "paper" is w-s3Tseg\'s; no other field may differ.',
    "cam.loss": '"binary" (each class by itself) or "candidate" (shown classes compete for each cell).',
    "cam.form": '"tile-max" or "survey-max" (maps over their maximum there), or "softmax" ("candidate").',
    "cam.scales": "Sizes at which a tile is seen; the maps are summed.",
    "cam.presence_weight": "Candidate loss: weight of finding each shown class somewhere.",
    "cam.top_share": "Candidate loss: share of a tile's cells in which a class is looked for.",
    "cam.object_top_share": "The same for the classes on a background.",
    "cam.temperature": "Candidate loss: below 1 each cell makes up its mind more strongly.",
    "training": "Schedule of a run: warm-up of the classification branch, then rounds of self-training.",
    "training.warmup_epochs": "Epochs of the classification branch, once for the whole study.",
    "training.warmup_rate": "Of the branch in the warm-up, if not learning_rate times head_factor.",
    "training.fine_tune_epochs": 'Epochs of encoder_training = "fine-tune", after the warm-up.',
    "training.fine_tune_rate": "Of the encoder in these epochs; the heads learn 5 times faster.",
    "training.rounds": "Times the pseudo-labels are made anew.",
    "training.epochs_per_round": "Epochs between them.",
    "training.batch_size": 'Tiles a step; "auto" is the most that fit on a CUDA device, 16 on the CPU.',
    "training.learning_rate": "Of the encoder (AdamW).",
    "training.head_factor": "The new layers learn this many times faster.",
    "training.weight_decay": "Of AdamW.",
    "training.clip_norm": "Largest norm of a gradient.",
    "training.poly_power": "Power of the polynomial decay of the learning rate.",
    "training.ema_epochs": "Epochs over which the weights are averaged; the average is used. 0 is off.",
    "training.restart_each_round": "true begins the learning rate again in each round, and searches rounds.",
    "training.labels_from": 'Of rounds after the first: "cam", or "probabilities" of the network itself.',
    "training.segmentation_weight": "Weight of the segmentation loss in the sum.",
    "training.classification_weight": "Weight of the classification loss in the sum.",
    "training.gain_jitter": "Augmentation: gain varies by up to this share.",
    "training.speckle": "Augmentation: standard deviation of multiplicative noise.",
    "training.break_shadow_direction": "true allows flips that turn the shadows round.",
    "training.deterministic": "true repeats a run on CUDA to the bit, but slower; the CPU always does.",
    "training.cuda_graph": "true records the step on CUDA once and plays it again (not measured yet).",
    "crf": "The crf study: dense CRF parameters, scored by pseudo-labels against the masks of val.",
    "crf.trials": "Trials of the whole study, the published settings included.",
    "crf.sampler": '"tpe", "gp", "cmaes", "nsga2", "random", "qmc" or "grid"; "auto" is "tpe".',
    "crf.patience": "Stop after so many trials without a better value.",
    "crf.weigh_seconds": "true searches for good and fast settings (Pareto front); no races then.",
    "crf.engine": 'What computes the dense CRF: "numba" (CPU), "torch" (CUDA), "pydensecrf"; "auto" chooses.',
    "crf.race": "true ends a trial once the tiles scored so far show that it cannot win.",
    "crf.guides": 'Pictures the CRF may follow: "raw", "log", "median", "lee".',
    "crf.sigma_alpha": "Range searched: reach of the bilateral kernel, pixels.",
    "crf.sigma_beta": "Range searched: grey levels (of 0..255) that count as alike.",
    "crf.sigma_gamma": "Range searched: reach of the spatial kernel, pixels.",
    "crf.w_bilateral": "Range searched: weight of the bilateral kernel.",
    "crf.w_spatial": "Range searched: weight of the spatial kernel.",
    "crf.iterations": "Range searched: mean-field iterations.",
    "crf.unary_scale": "Range searched: scale of the soft unary.",
    "crf.gt_prob": "Range searched: trust in hard seeds.",
    "crf.background_score": "Range searched: CAM score of the background class.",
    "loss": "The loss study: cross-entropy, focal (gamma, alpha) and Lovász-Softmax; a trial is a whole run.",
    "loss.trials": "Trials of the whole study, the four fixed losses included.",
    "loss.sampler": "As under [crf]; gp, cmaes and qmc draw gamma and alpha at random.",
    "loss.patience": "Stop after so many trials without a better value.",
    "loss.runs_per_device": "Runs that share a GPU, where they are small enough.",
    "loss.seeds": "Seeds the best setting of each loss is run with.",
    "loss.prune": "true ends hopeless focal trials early.",
}


def fit_settings(
    survey: Survey, sizes: list[tuple[int, int]], *, cuda: bool, pretrained: bool
) -> dict[str, Any]:
    """Choose settings for a survey and a device: the sections of study.toml that differ from the defaults.

    Parameters
    ----------
    survey : Survey
        The survey; its `background` is taken over.
    sizes : list of (int, int)
        Height and width of the tiles.
    cuda : bool
        Whether there is a CUDA device.
    pretrained : bool
        Whether the weights of EfficientNet-lite0 are installed.
    """
    settings: dict[str, Any] = {"name": survey.name, "background": survey.background}
    if pretrained:
        settings |= pretrained_settings(sizes)
        megapixels = len(survey.splits["train"]) * _network_pixels(sizes) / 1e6
        # An encoder tuned on objects before a background was no better than a frozen one.
        if survey.background is None and (cuda or megapixels <= FINE_TUNE_MEGAPIXELS):
            settings["network"]["encoder_training"] = "fine-tune"
        settings["crf"] = {"trials": 300 if cuda else 200}
        settings["loss"] = {"trials": 25, "seeds": 3} if cuda else {"trials": 9}
    elif cuda:
        settings["network"] = {"encoder": "resnet50", "decoder_channels": 256, "tile_scale": 1.0}
        settings["training"] = {
            "warmup_epochs": 40,
            "rounds": 4,
            "epochs_per_round": 15,
            "batch_size": "auto",
        }
        settings["crf"] = {"trials": 300}
        settings["loss"] = {"trials": 25, "seeds": 3}
    else:
        scale = tile_scale(sizes, CPU_TILE_PIXELS)
        # Trained from scratch in minutes, two stages place classes better than four: their view is local.
        settings["network"] = {
            "encoder": "resnet18",
            "stages": 2,
            "output_stride": 8,
            "decoder_channels": 64,
            "tile_scale": scale,
        }
        settings["training"] = {"warmup_epochs": 15, "rounds": 2, "epochs_per_round": 5}
        settings["crf"] = {"trials": 200}
        settings["loss"] = {"trials": 9}
    return settings


def pretrained_settings(sizes: list[tuple[int, int]]) -> dict[str, Any]:
    """Settings of runs on the features of EfficientNet-lite0, chosen on val of three surveys.

    docs/results.md has the figures.
    """
    scale = tile_scale(sizes, FROZEN_TILE_PIXELS, step=0.05)
    shorter = sorted(min(size) for size in sizes)[len(sizes) // 2] * scale
    return {
        "network": {
            "encoder": "efficientnet_lite0",
            "weights": "imagenet",
            "encoder_training": "frozen",
            "decoder_channels": 64,
            "tile_scale": scale,
            "cell": CELL if shorter >= SMALL_TILE else CELL // 2,
        },
        "cam": {"loss": "candidate", "form": "softmax", "scales": [1.0]},
        "training": {
            "warmup_epochs": 12,
            "rounds": 2,
            "epochs_per_round": 10,
            "head_factor": 2.0,
            "ema_epochs": 1.5,
            "restart_each_round": True,
            "labels_from": "probabilities",
        },
    }


def _network_pixels(sizes: list[tuple[int, int]]) -> float:
    """Pixels of the median tile as a pretrained network sees it."""
    areas = sorted(height * width for height, width in sizes)
    return areas[len(areas) // 2] * tile_scale(sizes, FROZEN_TILE_PIXELS, step=0.05) ** 2


def tile_scale(sizes: list[tuple[int, int]], pixels: int, step: float = _SCALE_STEP) -> float:
    """Find the scale at which the median tile has about so many pixels or fewer.

    In steps of `step`, 1 at most; below one step it is halved until it fits.
    """
    areas = sorted(height * width for height, width in sizes)
    exact = math.sqrt(pixels / areas[len(areas) // 2])
    scale = min(1.0, round(math.floor(exact / step) * step, 3))
    if scale > 0:
        return scale
    scale = step / 2
    while scale > exact and scale > 1 / 64:
        scale /= 2
    return scale


def survey_reference(survey_root: Path, workspace: Path) -> str:
    """Write the survey's path relative to the workspace, so that both can be moved together."""
    try:
        return Path(os.path.relpath(survey_root.resolve(), workspace.resolve())).as_posix()
    except ValueError:
        # Another drive: there is no relative path.
        return survey_root.resolve().as_posix()


def study_toml(config: StudyConfig) -> str:
    """Write a configuration as TOML with a comment a field."""
    lines = [
        "# Settings of this study; change what you like before `sonarseg tune`.",
        "# Once a study has begun, its name, survey folder and device may change, and how it goes on:",
        "# trials, sampler, patience, race, seeds, prune, runs_per_device. For other settings start a new",
        "# workspace.",
        "",
    ]
    return "\n".join([*lines, *_section(config, "")]) + "\n"


def _section(section: BaseModel, prefix: str) -> Iterator[str]:
    values = {name: getattr(section, name) for name in type(section).model_fields}
    subsections = {name: value for name, value in values.items() if isinstance(value, BaseModel)}
    fields = [(name, value) for name, value in values.items() if name not in subsections]
    # The budget is what people change most: it comes first.
    fields.sort(key=lambda field: field[0] != "trials")
    off = {name for name, value in fields if prefix + name == "cam.trials" and value == 0}
    entries = [(_assignment(name, None if name in off else value), name) for name, value in fields]
    width = min(36, max((len(entry) for entry, _ in entries), default=0))
    for entry, name in entries:
        yield f"{entry:<{width}}  # {_COMMENTS[prefix + name]}"
    for name, value in subsections.items():
        yield ""
        yield f"[{prefix}{name}]  # {_COMMENTS[prefix + name]}"
        yield from _section(value, f"{prefix}{name}.")


def _assignment(name: str, value: Any) -> str:
    # TOML knows no null: a field without a value is shown as a comment to fill in.
    return f"# {name} = {_EXAMPLES[name]}" if value is None else f"{name} = {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A JSON string is a TOML basic string, but for the character DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return repr(value)


def new_study(survey: Survey, workspace: Path, *, cuda: bool, paper: bool = False) -> StudyConfig:
    """Configure a study of a survey, with a budget for the device; `paper` takes w-s3Tseg's pipeline."""
    from sonarseg.network.timm_weights import lite0_file

    settings = fit_settings(
        survey, _sizes(survey), cuda=cuda, pretrained=not paper and lite0_file() is not None
    )
    if paper:
        settings["cam"] = {"setting": "paper"}
    return StudyConfig.model_validate({**settings, "survey": survey_reference(survey.root, workspace)})


def _sizes(survey: Survey) -> list[tuple[int, int]]:
    tiles = survey.splits["train"]
    chosen = tiles[:: max(1, len(tiles) // SIZE_SAMPLE)]
    return [survey.read_image(tile).shape[:2] for tile in chosen]


def refuse_existing(workspace: Path) -> None:
    """Refuse (UserError) a folder that is a workspace already."""
    path = workspace / STUDY_TOML
    if path.exists():
        raise UserError(
            f"{path} exists and is not overwritten: edit it, or name another folder with --workspace."
        )


def write_study_toml(workspace: Path, config: StudyConfig) -> Path:
    """Make the workspace and write its study.toml.

    Raises
    ------
    UserError
        Where there is one already.
    """
    path = workspace / STUDY_TOML
    refuse_existing(workspace)
    workspace.mkdir(parents=True, exist_ok=True)
    write_atomically(path, study_toml(config))
    return path
