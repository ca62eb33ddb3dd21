"""The parameters of the dense CRF, as a trial samples them and a run stores them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sonarseg.survey.guide import Guide

# Beyond these bounds nothing changes any more, and far beyond them float32 gives out.
HIGHEST = 1e6
MOST_ITERATIONS = 1000
Width = Annotated[float, Field(ge=1e-3, le=HIGHEST)]
Weight = Annotated[float, Field(ge=0, le=HIGHEST)]


class CrfParameters(BaseModel):
    """Fully connected CRF of Krähenbühl and Koltun (arXiv 1210.5644), and what goes into it.

    The defaults are those of w-s3Tseg, the untuned baseline.

    Attributes
    ----------
    sigma_alpha : float
        Position width of the bilateral kernel, pixels.
    sigma_beta : float
        Grey-level width of the bilateral kernel, levels of 0..255 in the space that the
        image has: one channel of a grey image, three of an RGB image.
    sigma_gamma : float
        Width of the spatial kernel, pixels.
    w_bilateral, w_spatial : float
        Potts weights of the two kernels; 0 leaves the kernel out.
    iterations : int
        Mean-field iterations; 0 is no CRF: the argmax of the scores.
    unary : {"soft", "seeds"}
        "soft": `-unary_scale * log(score + 1e-5)`. "seeds": hard seeds, the argmax of the scores as
        a label that is right with probability `gt_prob`.
    unary_scale : float
        Scale of the soft unary; unused with hard seeds.
    gt_prob : float
        Trust in hard seeds, above one half so that one outweighs the other classes
        together; unused with the soft unary.
    background_score : float or None
        Constant score of the background class, where the survey has one; None means
        `sonarseg.cam.hard_labels.DEFAULT_BACKGROUND_SCORE`.
    guide : {"raw", "log", "median", "lee"}
        How the image is filtered before the bilateral kernel sees it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sigma_alpha: Width = 20.0
    sigma_beta: Width = 5.0
    sigma_gamma: Width = 3.0
    w_bilateral: Weight = 10.0
    w_spatial: Weight = 3.0
    iterations: Annotated[int, Field(ge=0, le=MOST_ITERATIONS)] = 10
    unary: Literal["soft", "seeds"] = "seeds"
    unary_scale: Annotated[float, Field(gt=0, le=HIGHEST)] = 1.0
    gt_prob: Annotated[float, Field(gt=0.5, lt=1)] = 0.7
    background_score: Annotated[float, Field(ge=0, le=1)] | None = None
    guide: Guide = "raw"
