"""Weights that an encoder starts from: ImageNet, a file, or none."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from sonarseg.errors import UserError
from sonarseg.network.timm_encoder import LITE0, is_timm
from sonarseg.network.timm_weights import downloaded_state, fitted_names, lite0_state, missing_weights
from sonarseg.network.two_heads import TwoHeadNetwork


def load_encoder_weights(network: TwoHeadNetwork, weights: str | Path, encoder: str) -> None:
    """Fill the encoder with weights trained elsewhere; the heads stay as they are.

    A colour kernel is summed over its channels for grey tiles, so that a grey tile gives the features
    that its copy in three equal channels would; a grey kernel is spread over three channels alike.

    Parameters
    ----------
    network : TwoHeadNetwork
        Changed in place.
    weights : str or Path
        "none", "imagenet" (downloaded by torchvision or timm and kept in their cache; for
        EfficientNet-lite0 from its package, and random weights without it), or the path of a torch or
        safetensors file: a state dict with torchvision's or timm's names, or a checkpoint of sonarseg.
    encoder : str
        Name of the network's encoder.

    Raises
    ------
    UserError
        Where the weights cannot be had or do not fit.
    """
    fill_encoder(network.encoder, weights, encoder)


def fill_encoder(module: nn.Module, weights: str | Path, encoder: str) -> None:
    """Fill an encoder that stands alone; see `load_encoder_weights`."""
    if weights == "none" or missing_weights(weights, encoder):
        return
    state = encoder_state(weights, encoder)
    own = module.state_dict()
    if is_timm(encoder):
        state = fitted_names(state, own)
    else:
        state = {name.removeprefix("features."): value for name, value in state.items()}
    first = next(name for name, value in own.items() if value.ndim == 4)
    if first in state:
        state[first] = _fit_channels(state[first], own[first].shape[1])
    # Old files of torch do not count batches. The classifier and stages left out are not missed.
    parts = set() if is_timm(encoder) else {name.split(".")[0] for name in own}
    missing = {name for name in own if not name.endswith("num_batches_tracked")} - state.keys()
    unknown = {name for name in state if name.split(".")[0] in parts} - own.keys()
    reshaped = {name for name in own.keys() & state.keys() if own[name].shape != state[name].shape}
    wrong = sorted(missing | unknown | reshaped)
    if wrong:
        raise UserError(
            f'weights = "{weights}" do not fit encoder = "{encoder}": {len(wrong)} entries are '
            f"missing, unknown or of another shape, {wrong[0]} the first: name weights of the same encoder."
        )
    module.load_state_dict({**own, **{name: state[name] for name in own.keys() & state.keys()}})


def encoder_state(weights: str | Path, encoder: str) -> Mapping[str, Tensor]:
    """Read weights under the names that they were written with; errors as `load_encoder_weights`."""
    if weights != "imagenet":
        return _read(Path(weights))
    if encoder == LITE0:
        return lite0_state()
    return downloaded_state(encoder) if is_timm(encoder) else _imagenet(encoder)


def _imagenet(encoder: str) -> Mapping[str, Tensor]:
    # The first recipe, which torchvision's own segmentation models start from as well.
    weights = torchvision.models.get_model_weights(encoder)["IMAGENET1K_V1"]
    try:
        state: Mapping[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, HTTPException, RuntimeError) as error:
        raise UserError(
            f'weights = "imagenet" could not be downloaded for {encoder} ({error}): '
            'give the path of a weights file, or set weights = "none".'
        ) from error
    return state


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        state: Any = _content(path)
    except OSError as error:
        raise UserError(
            f"weights file {path} cannot be opened ({error.strerror}): "
            'give "imagenet", "none", or the path of a torch state dict.'
        ) from error
    except Exception as error:  # on a file of another kind torch fails in as many ways as there are kinds
        raise UserError(
            f"weights file {path} cannot be read ({type(error).__name__}): "
            "expected a torch state dict, as torch.save(model.state_dict(), path) writes it."
        ) from error
    if isinstance(state, dict) and isinstance(state.get("network"), dict):
        state = {
            name.removeprefix("encoder."): value
            for name, value in state["network"].items()
            if name.startswith("encoder.")
        }
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(
            f"weights file {path} holds no torch state dict: "
            "write one with torch.save(model.state_dict(), path)."
        )
    return state


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load

        return load(path.read_bytes())
    return torch.load(path, map_location="cpu", weights_only=True)


def _fit_channels(kernel: Tensor, channels: int) -> Tensor:
    """Fit the first kernel (F, C, k, k) to another number of input channels."""
    if kernel.ndim != 4 or kernel.shape[1] == channels:
        return kernel
    grey = kernel.sum(dim=1, keepdim=True)
    return grey.expand(-1, channels, -1, -1) / channels
