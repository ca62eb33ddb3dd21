"""Weights that an encoder starts from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor

from sonarseg.errors import UserError
from sonarseg.network.model import SegmentationNetwork

# torchvision's ResNets keep these parts at the top; ours are children of `encoder`.
CLASSIFIERS = ("fc.", "classifier.")


def load_encoder_weights(network: SegmentationNetwork, weights: str, encoder: str = "resnet18") -> None:
    """Fill the encoder with weights trained elsewhere.

    Parameters
    ----------
    network : SegmentationNetwork
        Changed in place.
    weights : str
        "imagenet" (downloaded by torchvision), "none", or the path of a state dict: torchvision's,
        or a checkpoint of sonarseg.
    encoder : str
        Name of the encoder, to find its ImageNet weights.

    Raises
    ------
    UserError
        Where the weights cannot be had or do not fit.
    """
    if weights == "none":
        return
    state = _imagenet(encoder) if weights == "imagenet" else _read(Path(weights))
    expected = network.encoder.state_dict()
    fitted = _fit(state, expected)
    wrong = [
        name for name, value in expected.items() if name not in fitted or fitted[name].shape != value.shape
    ]
    if wrong:
        raise UserError(
            f'weights = "{weights}" do not fit the encoder {encoder}: {wrong[0]} is missing or of another '
            f"shape ({len(wrong)} of {len(expected)} entries): name weights of the same encoder."
        )
    network.encoder.load_state_dict(fitted)


def _imagenet(encoder: str) -> Mapping[str, Tensor]:
    try:
        model = torchvision.models.get_model(encoder, weights="DEFAULT")
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f'weights = "imagenet" could not be downloaded for {encoder} ({error}): '
            'give the path of a weights file, or set weights = "none".'
        ) from error
    state: Mapping[str, Tensor] = model.state_dict()
    return state


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: weights must be \"imagenet\", \"none\" or a file.") from error
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as weights ({type(error).__name__}): expected a torch state dict."
        ) from error
    if isinstance(state, dict) and isinstance(state.get("network"), dict):
        state = {
            name.removeprefix("encoder."): value
            for name, value in state["network"].items()
            if name.startswith("encoder.")
        }
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} is not a torch state dict: save the model's state_dict() and name that.")
    return state


def _fit(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep the encoder's entries; sum a colour kernel over its channels for grey tiles."""
    fitted: dict[str, Tensor] = {}
    for name, value in state.items():
        plain = name.removeprefix("features.")
        if name.startswith(CLASSIFIERS) or plain not in expected:
            continue
        wanted = expected[plain].shape
        if value.ndim == 4 and wanted[1] == 1 and value.shape[1] == 3 and value.shape[0] == wanted[0]:
            value = value.sum(dim=1, keepdim=True)
        fitted[plain] = value
    return fitted
