"""config.json of a run folder, read without torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from sonarseg.errors import UserError
from sonarseg.files.setting_errors import strictly, wrong_setting
from sonarseg.files.settings import read_settings
from sonarseg.training.config import RunConfig

CONFIG = "config.json"


def read_config(run_dir: Path) -> RunConfig:
    """Read `run_dir/config.json`.

    Raises
    ------
    UserError
        Where it is missing or a field is wrong.
    """
    path = run_dir / CONFIG
    if not path.is_file():
        raise UserError(f"{path} is missing: a run folder holds its settings in config.json.")
    try:
        return strictly(RunConfig, read_settings(path)[0])
    except ValidationError as error:
        raise UserError(f"{path}: {wrong_setting(RunConfig, error, CONFIG).problem}.") from error
