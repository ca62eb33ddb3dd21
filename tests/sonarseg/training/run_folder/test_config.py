import json
from pathlib import Path

import pytest

from sonarseg.errors import UserError
from sonarseg.training.config import RunConfig
from sonarseg.training.run_folder.config import CONFIG, read_config


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"training": {"rounds": 0}}, "training.rounds = 0 is wrong: expected a whole number of 1 or more."),
        ({"training": {"rounds": True}}, "training.rounds = true is wrong"),
        ({"training": {"batch_size": "all"}}, 'expected a whole number of 1 or more or "auto".'),
        ({"training": {"learning_rate": float("nan")}}, "training.learning_rate = nan is wrong: expected a"),
        ({"training": 3}, "training = 3 is wrong: expected a section [training] of names with values."),
        ({"seed": -1}, "seed = -1 is wrong: expected a whole number of 0 or more and below"),
        ({"loss": {"name": "dice"}}, 'loss.name = "dice" is wrong: expected "cross-entropy" or "focal" or'),
        ({"loss": {"gamma": 2}}, "[loss] gamma and alpha belong to focal"),
        ({"crf": {"sigma_alpha": "wide"}}, 'crf.sigma_alpha = "wide" is wrong: expected a number from 0.001'),
        ({"scaling": {"low": float("inf")}}, "scaling.low = inf is wrong: expected a number."),
        ({"lerning_rate": 1}, "lerning_rate is not a field of config.json; check its spelling."),
    ],
)
def test_a_wrong_setting_is_one_sentence(tmp_path: Path, values: dict[str, object], says: str) -> None:
    (tmp_path / CONFIG).write_text(json.dumps({"survey": "s"} | values))
    with pytest.raises(UserError) as caught:
        read_config(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / CONFIG}: ")
    assert says in message
    assert "nput should" not in message


def test_a_config_reads_back_as_it_was_written(tmp_path: Path) -> None:
    config = RunConfig.model_validate({"survey": "s", "seed": 3, "scaling": {"low": 1}})
    (tmp_path / CONFIG).write_bytes(b"\xef\xbb\xbf" + config.model_dump_json(indent=1).encode())
    assert read_config(tmp_path) == config
    (tmp_path / CONFIG).write_text('{"survey": "s", "seed": 1, "seed": 2}')
    with pytest.raises(UserError, match='"seed" is named twice'):
        read_config(tmp_path)
