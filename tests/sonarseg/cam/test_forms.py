"""CAMs divided by the survey's maxima, and CAMs that are a softmax over the shown classes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sonarseg.cam.extract import extract_cams
from sonarseg.cam.extract_split import cam_batches, class_maxima, stream_cams
from sonarseg.cam.files import read_maxima, write_maxima
from sonarseg.errors import UserError
from sonarseg.network.model import SegmentationNetwork
from sonarseg.survey.layout import open_survey
from sonarseg.survey.scaling import GreyScaling
from sonarseg.training.checkpoint.model import Model, build_network
from sonarseg.training.config import CamConfig, NetworkConfig, SonarGeometry
from sonarseg.training.data.tiles import Tiles, load_tiles
from tests.support.one_tile_cam import extract_cam
from tests.support.tiny_survey import write_survey

ALL = np.array([True, True, True])
SURVEY_MAX = CamConfig(form="survey-max", scales=(1.0, 0.5))


class Pixelwise(nn.Module):
    """A network of stride one whose logit of class c is (c + 1) * image - c."""

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def cell_logits(self, features: torch.Tensor) -> torch.Tensor:
        return torch.cat([(c + 1) * features - c for c in range(3)], dim=1)

    def cam(self, features: torch.Tensor) -> torch.Tensor:
        return self.cell_logits(features).relu()


IMAGE = torch.tensor([[[0.2, 0.4], [0.8, 1.0]]])


def test_survey_max_divides_each_class_by_its_constant() -> None:
    options = {"scales": (1,), "flips": ("vertical",), "form": "survey-max"}
    cam = extract_cam(Pixelwise(), IMAGE, ALL, maxima=torch.tensor([4.0, 2.0, 0.5]), **options)
    # The sums are 2x, 2 (2x - 1) and 2 (3x - 2), no less than 0; what is above the constant counts as 1.
    expected = [[[0.1, 0.2], [0.4, 0.5]], [[0, 0], [0.6, 1.0]], [[0, 0], [1.0, 1.0]]]
    np.testing.assert_allclose(cam, expected, atol=1e-4)
    with pytest.raises(ValueError, match="maxima"):
        extract_cam(Pixelwise(), IMAGE, ALL, **options)


@pytest.mark.parametrize("shown", [[True, True, True], [True, False, True], [False, True, False]])
def test_softmax_is_taken_over_the_shown_classes(shown: list[bool]) -> None:
    options = {"scales": (1, 1), "flips": ("vertical",), "form": "softmax"}
    cam = extract_cam(Pixelwise(), IMAGE, np.array(shown), **options)
    x = IMAGE[0].numpy()
    weights = np.stack([np.exp((c + 1) * x - c) * shown[c] for c in range(3)])
    np.testing.assert_allclose(cam, weights / weights.sum(axis=0), atol=1e-6)


def test_softmax_maps_are_the_mean_of_the_probabilities_of_each_view() -> None:
    class Brighter(Pixelwise):
        """The logits depend on which row comes first, so that a flipped tile has others."""

        def cell_logits(self, features: torch.Tensor) -> torch.Tensor:
            return super().cell_logits(features) * (1 + 4 * features[:, :, :1])

    cam = extract_cam(Brighter(), IMAGE, ALL, scales=(1,), flips=("vertical",), form="softmax")
    views = [Brighter().cell_logits(view[None]).softmax(dim=1)[0] for view in (IMAGE, IMAGE.flip(1))]
    np.testing.assert_allclose(cam, (views[0] + views[1].flip(1)) / 2, atol=1e-6)
    images, shown = torch.stack([IMAGE, 1 - IMAGE]), torch.tensor([[True, True, False], [False, True, True]])
    both = extract_cams(Brighter(), images, shown, (1,), ("vertical",), None, "softmax")
    for index in range(2):
        alone = extract_cam(
            Brighter(), images[index], shown[index].numpy(), scales=(1,), flips=("vertical",), form="softmax"
        )
        np.testing.assert_allclose(both[index], alone, atol=1e-6)


def test_softmax_of_a_tile_that_shows_nothing_is_zero() -> None:
    cam = extract_cam(Pixelwise(), IMAGE, ~ALL, scales=(1,), flips=(), form="softmax")
    assert cam.max() == 0


def test_a_competing_branch_has_a_bias_and_drops_inputs_in_training_alone() -> None:
    torch.manual_seed(0)
    plain, competing = (
        SegmentationNetwork("resnet18", 1, 3, decoder_channels=8, competing=kind) for kind in (False, True)
    )
    assert plain.class_activation.bias is None and competing.class_activation.bias is not None
    features = torch.rand((2, competing.class_activation.in_channels, 4, 5)) + 1
    assert torch.equal(competing.eval().cell_logits(features), competing.class_activation(features))
    dropped = competing.train().input_dropout(features)
    # A tenth of the single values, not of whole channels; the others are larger by as much
    assert 0.08 < (dropped == 0).float().mean().item() < 0.12
    assert (dropped.amax(dim=(2, 3)) > 0).all()
    torch.testing.assert_close(dropped[dropped > 0], (features / 0.9)[dropped > 0])
    assert torch.equal(plain.train().cell_logits(features), plain.class_activation(features))


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Tiles:
    survey = open_survey(write_survey(tmp_path_factory.mktemp("forms") / "survey"))
    return load_tiles(survey, survey.splits["train"], GreyScaling(), 1.0)


def model_of(tiles: Tiles, cam: CamConfig, background: str | None = None) -> Model:
    torch.manual_seed(2)
    config = NetworkConfig(decoder_channels=8)
    network = build_network(config, 1, 2, cam.loss).eval()
    normalisation, device = tiles.normalisation(), torch.device("cpu")
    classes = ("mud", "rock")
    return Model(
        network, classes, background, GreyScaling(), normalisation, config, SonarGeometry(), device, cam
    )


def test_maxima_are_the_largest_sums_of_train_so_that_each_class_reaches_one_once(tiles: Tiles) -> None:
    model = model_of(tiles, SURVEY_MAX)
    maxima = class_maxima(model, tiles, SURVEY_MAX)
    assert maxima is not None and maxima.dtype == np.float32
    everything = range(len(tiles))
    batches = cam_batches(tiles, everything, model, SURVEY_MAX)
    scores = dict(stream_cams(model, tiles, batches, SURVEY_MAX, maxima))
    highest = np.stack([scores[i].max(axis=(1, 2)) for i in everything])
    np.testing.assert_allclose(highest.max(axis=0), maxima > 0, atol=2e-3)
    # Not each tile by itself
    assert (highest[tiles.shown] < 0.99).any()
    assert class_maxima(model, tiles, CamConfig()) is None


def test_the_background_has_a_softmax_score_of_its_own(tiles: Tiles) -> None:
    cam = CamConfig(loss="candidate", form="softmax", scales=(1.0,))
    model = model_of(tiles, cam, background="mud")
    for _, scores in stream_cams(model, tiles, cam_batches(tiles, [1, 3], model, cam), cam):
        np.testing.assert_allclose(scores.sum(axis=0), 1, atol=2e-3)
        assert scores[0].max() > 0


def test_maxima_are_kept_with_the_cams(tmp_path: Path) -> None:
    assert read_maxima(tmp_path / "cams") is None
    write_maxima(tmp_path / "cams", np.array([3.0, 0.5], dtype=np.float32))
    np.testing.assert_array_equal(read_maxima(tmp_path / "cams"), [3.0, 0.5])


@pytest.mark.parametrize("content", [b"", b"no numbers", None])
def test_broken_maxima_are_said(tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        np.save(tmp_path / "maxima.npy", np.zeros((2, 2)))
    else:
        (tmp_path / "maxima.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"maxima\.npy .*: delete .*, and the CAMs are made again"):
        read_maxima(tmp_path)
