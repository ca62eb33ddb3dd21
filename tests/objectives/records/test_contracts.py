"""The contracts that keep the study record alone name every other module of `objectives`."""

from configparser import ConfigParser
from pathlib import Path

import pytest

import objectives.records

OBJECTIVES = Path(objectives.records.__file__).parents[1]


@pytest.mark.parametrize("contract", ["reports-read", "records-alone"])
def test_no_module_is_forgotten(contract: str) -> None:
    config = ConfigParser()
    config.read(OBJECTIVES.parent / "setup.cfg", encoding="utf-8")
    forbidden = set(config[f"importlinter:contract:{contract}"]["forbidden_modules"].split())
    rooms = {path.parent.name for path in OBJECTIVES.glob("[a-z]*/__init__.py")} - {"records"}
    others = {path.stem for path in OBJECTIVES.glob("[a-z]*.py")} | rooms
    assert len(others) > 10
    assert {f"objectives.{name}" for name in others} <= forbidden
    assert "torch" in forbidden
