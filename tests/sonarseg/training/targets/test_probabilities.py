"""Pseudo-labels of later rounds from the network's own class probabilities."""

from pathlib import Path

import numpy as np
import pytest

from sonarseg.densecrf.engines.base import Engine
from sonarseg.densecrf.parameters import CrfParameters
from sonarseg.prediction import predict_probabilities
from sonarseg.training.config import RunConfig
from sonarseg.training.data.loading import load_run_data, new_model
from sonarseg.training.targets.probabilities import stream_probabilities
from sonarseg.training.targets.pseudo_labels import read_pseudo_label
from sonarseg.training.targets.rounds import PSEUDO_LABELS, RoundTargets


def by_network(config: RunConfig, **fields: object) -> RunConfig:
    training = config.training.model_dump() | {"labels_from": "probabilities"}
    return RunConfig.model_validate(config.model_dump() | {"training": training} | fields)


@pytest.mark.parametrize("tile_scale", [1.0, 0.5])
def test_probabilities_are_those_of_the_maps_among_the_shown_classes(
    tmp_path: Path, tiny_config: RunConfig, tile_scale: float
) -> None:
    network = tiny_config.network.model_dump() | {"tile_scale": tile_scale}
    config = by_network(tiny_config, network=network)
    data = load_run_data(tmp_path, config)
    model, _ = new_model(tmp_path, config, data)
    model.network.eval()
    found = dict(stream_probabilities(model, data.train, [5, 0, 3, 7], 3))
    assert sorted(found) == [0, 3, 5, 7]
    for index, scores in found.items():
        image = data.scaling.read(data.survey.image_path(data.train.names[index]))
        expected = predict_probabilities(model, image) * data.train.shown[index][:, None, None]
        np.testing.assert_allclose(scores, expected / expected.sum(axis=0), atol=2e-3)


@pytest.mark.parametrize("background", [None, "rock"])
@pytest.mark.parametrize("engine", [Engine(), Engine("pydensecrf")])
def test_rounds_after_the_first_are_labelled_by_the_network(
    tmp_path: Path,
    tiny_config: RunConfig,
    monkeypatch: pytest.MonkeyPatch,
    engine: Engine,
    background: str | None,
) -> None:
    monkeypatch.setattr("sonarseg.training.targets.rounds.pick_engine", lambda *_: engine)
    monkeypatch.setattr("sonarseg.training.targets.rounds.cpu_count", lambda: 1)
    config = by_network(tiny_config, crf=CrfParameters(iterations=0).model_dump(), background=background)
    data = load_run_data(tmp_path, config)
    model, _ = new_model(tmp_path, config, data)
    targets = RoundTargets(tmp_path, config, data.survey, model, data.train)
    for number in (1, 2):
        targets.of_round(number, lambda *_: None)
    by_cam, labelled = (tmp_path / PSEUDO_LABELS / f"round-{number}" for number in (1, 2))
    differ = []
    for index, name in enumerate(data.train.names):
        image = data.scaling.read(data.survey.image_path(name))
        probabilities = predict_probabilities(model, image)
        probabilities[~data.train.shown[index]] = 0
        found = read_pseudo_label(labelled, name)
        # Where two are as probable within float16, either may be it.
        chosen = np.take_along_axis(probabilities, found[None].astype(np.int64), axis=0)[0]
        assert (chosen >= probabilities.max(axis=0) - 2e-3).all()
        differ.append(bool((found != read_pseudo_label(by_cam, name)).any()))
    assert any(differ)
    assert not (tmp_path / "cams").exists()
