"""What a run starts from: the survey's tiles on the one hand, a new network on the other."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonarseg.errors import UserError
from sonarseg.features.network import FrozenNetwork
from sonarseg.network.weights import load_encoder_weights
from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import Survey, open_survey
from sonarseg.survey.pixel_store import PixelStore, Source
from sonarseg.survey.scaling import GreyScaling, fit_scaling
from sonarseg.training.checkpoint.files import CHECKPOINT, load_checkpoint
from sonarseg.training.checkpoint.model import Model, build_network
from sonarseg.training.config import NetworkConfig, RunConfig
from sonarseg.training.data.frozen import seen_by
from sonarseg.training.data.tiles import UNCHANGED, Tiles, load_masks, load_tiles
from sonarseg.training.device import pick_device
from sonarseg.training.run_folder.config import CONFIG


@dataclass(frozen=True)
class RunData:
    """The tiles of a run and what is known of them.

    Attributes
    ----------
    scaling : GreyScaling
        The survey-wide scaling to 0..255.
    train, val : Tiles
        Of val, the tiles that have a mask.
    val_masks : PixelStore of uint8 (1, H, W)
    labelled : bool (K,)
        Classes that image-level labels speak of.
    """

    survey: Survey
    scaling: GreyScaling
    device: torch.device
    train: Tiles
    val: Tiles
    val_masks: PixelStore
    labelled: Tensor


def load_run_data(run_dir: Path, config: RunConfig, progress: Progress = silent) -> RunData:
    """Open the survey and read the tiles of train and val.

    Raises
    ------
    UserError
        Where the survey is wrong or the device is not there.
    """
    survey = _open(run_dir, config)
    scaling = config.scaling or fit_scaling(survey)
    device = pick_device(config.device)
    scale = config.network.tile_scale
    store = config.path(run_dir, config.tiles)
    train = load_tiles(
        survey, survey.splits["train"], scaling, scale, store=store / "train", progress=progress
    )
    if not len(train):
        raise UserError(f"{survey.root}: the train split is empty: list its tiles in splits/train.txt.")
    names = [tile for tile in survey.splits["val"] if survey.has_mask(tile)]
    val = load_tiles(survey, names, scaling, scale, store=store / "val", progress=progress)
    masks = load_masks(survey, names, store / "val-masks", progress)
    return RunData(survey, scaling, device, train, val, masks, _labelled(survey, device))


def new_model(
    run_dir: Path, config: RunConfig, data: RunData, progress: Progress = silent
) -> tuple[Model, RunData]:
    """Make the network that a run starts with: fresh from its seed, of a warm-up, or pretrained.

    Returns
    -------
    model, data
        The data as the network takes it.
    """
    torch.manual_seed(config.seed)
    survey = data.survey
    network = build_network(config.network, data.scaling.channels, survey.num_classes, config.cam.loss)
    if config.warm_up is not None:
        state = load_checkpoint(config.path(run_dir, config.warm_up) / CHECKPOINT, torch.device("cpu"))
        _refuse_other_warm_up(run_dir, config, state["model"])
        network.load_state_dict(state["network"])
    elif config.network.weights != "none":
        weights = config.network.weights
        if weights != "imagenet":
            weights = str(config.path(run_dir, weights))
        if isinstance(network, FrozenNetwork):
            network.encoder.fill(weights)
        else:
            load_encoder_weights(network, weights, config.network.encoder)
    network.to(data.device)
    model = Model(
        network,
        survey.classes,
        survey.background,
        data.scaling,
        UNCHANGED[data.scaling.channels] if config.network.frozen else data.train.normalisation(),
        config.network,
        config.sonar,
        data.device,
        config.cam,
    )
    return model, _as_seen(run_dir, config, data, model, progress)


def _as_seen(run_dir: Path, config: RunConfig, data: RunData, model: Model, progress: Progress) -> RunData:
    """Give the tiles the features of a frozen encoder, by which a fresh network is standardised."""
    if not isinstance(model.network, FrozenNetwork):
        return data
    store = config.path(run_dir, config.tiles)
    train = seen_by(model, data.train, store / "train", progress)
    val = seen_by(model, data.val, store / "val", progress)
    if config.warm_up is None and train.features is not None:
        model.network.standardise.fit(train.features)
    return replace(data, train=train, val=val)


def _refuse_other_warm_up(run_dir: Path, config: RunConfig, described: dict[str, Any]) -> None:
    """Refuse (UserError) a warm-up of another network, or whose branch was trained with another loss."""
    free = {"weights", "feature_gb"}
    trained = NetworkConfig.model_validate(described["network"]).model_dump(exclude=free)
    for name, value in config.network.model_dump(exclude=free).items():
        if trained[name] != value:
            raise UserError(
                f"{run_dir / CONFIG}: network.{name} is {value!r}, but the warm-up {config.warm_up} was "
                f"trained with {trained[name]!r}: write that, or name another warm-up."
            )
    trained_with = described.get("cam", {}).get("loss", "binary")
    if trained_with != config.cam.loss:
        raise UserError(
            f'{run_dir / CONFIG}: cam.loss is "{config.cam.loss}", but the warm-up {config.warm_up} was '
            f'trained with "{trained_with}": write that, or name another warm-up.'
        )


def tiles_hash(data: RunData) -> str:
    """A short hash of all that a run learns from or is scored by, wherever the survey lies.

    Pictures and val masks are known by their stores. Train masks count where a run may open them:
    their files are read, so that this is asked once a start.
    """
    survey = data.survey
    described: list[object] = [survey.classes, survey.background, data.scaling.model_dump()]
    for tiles in (data.train, data.val):
        described += [tiles.names, tiles.shown.astype(int).tolist(), tiles.pictures.content]
    described.append(data.val_masks.content)
    if "train" in survey.opened:
        described.append(Source([survey.mask_path(name) for name in data.train.names], {}).content())
    # JSON keeps the borders between the parts.
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]


def _open(run_dir: Path, config: RunConfig) -> Survey:
    # With a background every tile with an object holds two classes; labels.csv itself tells which show one.
    background = None if config.supervision == "single-label" else config.background
    survey = open_survey(config.path(run_dir, config.survey), background)
    return survey.with_masks_of("train") if config.supervision == "masks" else survey


def _labelled(survey: Survey, device: torch.device) -> Tensor:
    labelled = torch.ones(survey.num_classes, dtype=torch.bool, device=device)
    if survey.background_id is not None:
        labelled[survey.background_id] = False
    return labelled
