"""Bounds of the parameters, and the published settings on grey and RGB images."""

import math

import pytest
from pydantic import ValidationError

from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.densecrf.published import PUBLISHED, published


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sigma_alpha", 0),
        ("sigma_beta", -1),
        ("sigma_gamma", math.nan),
        ("w_bilateral", -0.1),
        ("w_spatial", math.inf),
        ("iterations", -1),
        ("iterations", 2.5),
        ("iterations", 1001),
        ("sigma_alpha", 1e-4),
        ("sigma_beta", 1e-50),
        ("sigma_gamma", 1e7),
        ("w_bilateral", 1e39),
        ("w_spatial", 1.1e6),
        ("unary_scale", 1e30),
        ("unary", "softmax"),
        ("unary_scale", 0),
        ("gt_prob", 0.5),
        ("gt_prob", 1),
        ("background_score", 1.1),
        ("guide", "gauss"),
        ("sigma", 3),
    ],
)
def test_a_bad_value_names_its_field(field, value):
    with pytest.raises(ValidationError, match=field):
        CrfParameters.model_validate({field: value})


def test_parameters_survive_json():
    parameters = CrfParameters(sigma_beta=2.5, unary="soft", background_score=0.3, guide="lee")
    assert CrfParameters.model_validate_json(parameters.model_dump_json()) == parameters


def test_the_untuned_settings_in_the_order_of_the_study():
    assert list(PUBLISHED) == ["no CRF", "w-s3Tseg", "IRN", "PSA", "DeepLab"]
    assert published("no CRF").iterations == 0
    assert published("w-s3Tseg") == CrfParameters()


# name, sigma_alpha, sigma_beta, w_bilateral, sigma_gamma, w_spatial, unary: the table of published settings
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("w-s3Tseg", (20, 5, 10, 3, 3, "seeds")),
        ("IRN", (50, 5, 10, 3, 3, "seeds")),
        ("PSA", (80, 13, 10, 3, 3, "soft")),
        ("DeepLab", (67, 3, 4, 1, 3, "soft")),
    ],
)
def test_values_as_published_on_rgb(name, values):
    setting = published(name, 3)
    assert values == (
        setting.sigma_alpha,
        setting.sigma_beta,
        setting.w_bilateral,
        setting.sigma_gamma,
        setting.w_spatial,
        setting.unary,
    )
    assert setting.iterations == 10
    assert setting.gt_prob == 0.7


def test_grey_narrows_the_rgb_settings_only():
    assert published("w-s3Tseg", 1).sigma_beta == 5
    for name in ("IRN", "PSA", "DeepLab"):
        grey, colour = published(name, 1), published(name, 3)
        assert grey.sigma_beta == pytest.approx(colour.sigma_beta / math.sqrt(3))
        assert grey.model_copy(update={"sigma_beta": colour.sigma_beta}) == colour


def test_unknown_name():
    with pytest.raises(KeyError):
        published("CLIMS")
