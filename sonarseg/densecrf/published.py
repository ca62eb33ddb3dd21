"""Dense CRF settings of published code, the untuned settings every study starts with."""

from __future__ import annotations

import math
from typing import Literal

from sonarseg.densecrf.parameters import CrfParameters

NO_CRF = "no CRF"

# Values as the code of each work writes them (its file in brackets); sigma_beta of all but
# w-s3Tseg is meant for RGB pictures.
PUBLISHED: dict[str, CrfParameters] = {
    NO_CRF: CrfParameters(iterations=0),
    # repository DeeperSense/deepersense-seafloorscan: one channel already
    "w-s3Tseg": CrfParameters(
        sigma_alpha=20, sigma_beta=5, w_bilateral=10, sigma_gamma=3, w_spatial=3,
        iterations=10, unary="seeds", gt_prob=0.7,
    ),
    # repository jiwoon-ahn/irn, file misc/imutils.py, crf_inference_label
    "IRN": CrfParameters(
        sigma_alpha=50, sigma_beta=5, w_bilateral=10, sigma_gamma=3, w_spatial=3,
        iterations=10, unary="seeds", gt_prob=0.7,
    ),
    # repository jiwoon-ahn/psa, file tool/imutils.py, crf_inference
    "PSA": CrfParameters(
        sigma_alpha=80, sigma_beta=13, w_bilateral=10, sigma_gamma=3, w_spatial=3,
        iterations=10, unary="soft", unary_scale=1,
    ),
    # repository kazuto1011/deeplab-pytorch, section CRF of its configurations
    "DeepLab": CrfParameters(
        sigma_alpha=67, sigma_beta=3, w_bilateral=4, sigma_gamma=1, w_spatial=3,
        iterations=10, unary="soft", unary_scale=1,
    ),
}  # fmt: skip
_RGB_SETTINGS = frozenset({"IRN", "PSA", "DeepLab"})


def published(name: str, channels: Literal[1, 3] = 1) -> CrfParameters:
    """Look up a published setting for images of one or three channels.

    A grey image repeated in three channels has three times the squared distance, so an RGB
    setting `s` is the same exact kernel as `s / sqrt(3)` on one channel.

    Parameters
    ----------
    name : str
        A key of `PUBLISHED`.
    channels : {1, 3}
        Channels of the survey's images after scaling.

    Raises
    ------
    KeyError
        Where `name` is not a key of `PUBLISHED`.
    """
    setting = PUBLISHED[name]
    if channels == 1 and name in _RGB_SETTINGS:
        return setting.model_copy(update={"sigma_beta": setting.sigma_beta / math.sqrt(3)})
    return setting
