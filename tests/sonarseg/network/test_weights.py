import urllib.error

import pytest
import torch
import torchvision

from sonarseg.errors import UserError
from sonarseg.network.model import SegmentationNetwork
from sonarseg.network.weights import load_encoder_weights


def network(encoder="resnet18", channels=3, seed=0, **settings):
    torch.manual_seed(seed)
    return SegmentationNetwork(encoder, channels, 3, decoder_channels=8, **settings).eval()


@pytest.fixture
def resnet18_file(tmp_path):
    torch.manual_seed(1)
    path = tmp_path / "resnet18.pth"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    return path


def test_torchvision_weights_are_taken_whole(resnet18_file):
    model = network()
    heads = {name: value.clone() for name, value in model.state_dict().items() if "encoder." not in name}
    load_encoder_weights(model, resnet18_file, "resnet18")
    state = torch.load(resnet18_file, weights_only=True)
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, state[name]), name
    for name, value in heads.items():
        assert torch.equal(value, model.state_dict()[name]), name


@pytest.mark.parametrize("stages", [2, 3])
def test_stages_left_out_are_not_missed(resnet18_file, stages):
    model = network(stages=stages)
    load_encoder_weights(model, str(resnet18_file), "resnet18")
    expected = torch.load(resnet18_file, weights_only=True)["layer2.1.conv2.weight"]
    assert torch.equal(model.encoder.layer2[1].conv2.weight, expected)


def test_mobilenet_weights_are_taken(tmp_path):
    path = tmp_path / "mobilenet.pth"
    whole = torchvision.models.mobilenet_v3_large(weights=None)
    torch.save(whole.state_dict(), path)
    model = network("mobilenet_v3_large")
    load_encoder_weights(model, path, "mobilenet_v3_large")
    assert torch.equal(model.encoder[16][0].weight, whole.features[16][0].weight)


def test_a_grey_tile_gives_what_three_equal_channels_gave(resnet18_file):
    colour, grey = network(channels=3), network(channels=1, seed=5)
    load_encoder_weights(colour, resnet18_file, "resnet18")
    load_encoder_weights(grey, resnet18_file, "resnet18")
    tile = torch.randn(1, 1, 40, 40)
    torch.testing.assert_close(
        grey.encode(tile), colour.encode(tile.expand(-1, 3, -1, -1)), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_the_encoder_of_a_checkpoint_is_taken(tmp_path, channels):
    trained, fresh = network(channels=1, seed=2), network(channels=channels, seed=3)
    path = tmp_path / "checkpoint.pt"
    torch.save({"network": trained.state_dict(), "epoch": 3, "model": {"classes": ["mud"]}}, path)
    load_encoder_weights(fresh, path, "resnet18")
    tile = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(
        fresh.encode(tile.expand(-1, channels, -1, -1)), trained.encode(tile), atol=1e-4, rtol=1e-4
    )


def test_none_changes_nothing():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_encoder_weights(model, "none", "resnet18")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_imagenet_without_internet_is_one_sentence(monkeypatch, tmp_path):
    def refuse(*_args, **_kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match=r'could not be downloaded.*path.*"none"'):
        load_encoder_weights(network(), "imagenet", "resnet18")


def test_imagenet_is_torchvisions_first_recipe(monkeypatch):
    asked = []

    def download(url, **_kwargs):
        asked.append(url)
        return torchvision.models.resnet18(weights=None).state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    load_encoder_weights(network(), "imagenet", "resnet18")
    assert asked == [torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url]


@pytest.mark.parametrize("encoder", ["resnet34", "resnet50", "mobilenet_v3_large"])
def test_weights_of_another_encoder_are_refused(resnet18_file, encoder):
    with pytest.raises(UserError, match="do not fit"):
        load_encoder_weights(network(encoder), resnet18_file, encoder)


def test_more_blocks_than_the_encoder_has_are_refused(tmp_path):
    path = tmp_path / "resnet34.pth"
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), path)
    with pytest.raises(UserError, match="do not fit"):
        load_encoder_weights(network(), path, "resnet18")


@pytest.mark.parametrize("content", [b"", b"not a torch file", b"PK\x03\x04 broken", b"\x80\x02."])
def test_a_file_that_is_not_torchs_is_refused(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"weights\.pth cannot be read"):
        load_encoder_weights(network(), path, "resnet18")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(3)])
def test_a_torch_file_without_weights_is_refused(tmp_path, content):
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(UserError, match=r"other\.pt holds no torch state dict"):
        load_encoder_weights(network(), path, "resnet18")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.pth cannot be opened"):
        load_encoder_weights(network(), tmp_path / "nowhere.pth", "resnet18")
