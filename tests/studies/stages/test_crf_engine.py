""" "auto" on a CUDA device: measured once for a study, noted there, and the same when the study goes on."""

from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest

from objectives.records import attributes as attr
from sonarseg.densecrf.engines.base import DEFAULT_ENGINE, Engine
from sonarseg.errors import UserError
from studies.stages import crf as stage

TORCH = Engine("torch", "cuda")


def workspace(engine="auto"):
    """What the choice reads of a workspace."""
    config = SimpleNamespace(crf=SimpleNamespace(engine=engine), device="auto")
    return SimpleNamespace(config=config, root=Path("/survey"))


@pytest.fixture
def measured(monkeypatch):
    """Measurements so far; numba is found the faster."""
    done = []

    def faster(engine, jobs):
        done.append((engine, jobs))
        return DEFAULT_ENGINE, "numba is the faster here."

    monkeypatch.setattr(stage, "faster_engine", faster)
    monkeypatch.setattr(stage, "make_ready", lambda *_: None)
    monkeypatch.setattr(stage, "pick_engine", lambda *_: TORCH)
    return done


def chosen(study, engine="auto"):
    """Engine that the study takes, noted as a study does."""
    place = workspace(engine)
    return stage._same_engine(study, stage._engine(study, place, 8, lambda *_: None), place)


def test_the_faster_engine_is_noted_and_kept(measured):
    study = optuna.create_study()
    assert chosen(study) == DEFAULT_ENGINE
    assert measured == [(TORCH, 8)]
    assert study.user_attrs == {attr.ENGINE: "numba", attr.ENGINE_NOTE: "numba is the faster here."}
    assert chosen(study) == DEFAULT_ENGINE
    assert len(measured) == 1


def test_a_study_begun_with_torch_goes_on_with_it_unmeasured(measured):
    study = optuna.create_study()
    study.set_user_attr(attr.ENGINE, "torch")
    assert chosen(study) == TORCH
    assert not measured


def test_an_engine_that_is_asked_for_is_not_measured(measured):
    study = optuna.create_study()
    assert chosen(study, "torch") == TORCH
    assert not measured and attr.ENGINE_NOTE not in study.user_attrs


def test_the_cpu_takes_numba_unmeasured_and_no_study_of_torch(measured, monkeypatch):
    monkeypatch.setattr(stage, "pick_engine", lambda *_: DEFAULT_ENGINE)
    assert chosen(optuna.create_study()) == DEFAULT_ENGINE
    assert not measured
    study = optuna.create_study()
    study.set_user_attr(attr.ENGINE, "torch")
    with pytest.raises(UserError, match="begun with the engine torch"):
        chosen(study)
