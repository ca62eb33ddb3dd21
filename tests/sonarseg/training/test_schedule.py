"""Epochs, rounds and the learning rate."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sonarseg.training.config import CamConfig, NetworkConfig, RunConfig, TrainingConfig
from sonarseg.training.data.sampling import balanced_epoch, single_class_epoch
from sonarseg.training.schedule import (
    Epoch,
    branch_progress,
    ends_round,
    epochs_before_rounds,
    learning_rate_factor,
    plan,
    restarts,
)


def test_rounds_begin_with_new_pseudo_labels() -> None:
    config = RunConfig(survey="x", training=TrainingConfig(warmup_epochs=2, rounds=2, epochs_per_round=3))
    epochs = plan(config)
    assert [e.round for e in epochs] == [0, 0, 1, 1, 1, 2, 2, 2]
    assert [e.stage for e in epochs[:3]] == ["warm-up", "warm-up", "self-training"]


def planned(**training: object) -> list[Epoch]:
    return plan(RunConfig(survey="x", training=TrainingConfig.model_validate(training)))


def test_an_encoder_is_tuned_between_warm_up_and_rounds() -> None:
    network = NetworkConfig(encoder_training="fine-tune", weights="imagenet")
    training = TrainingConfig(warmup_epochs=1, fine_tune_epochs=2, rounds=1, epochs_per_round=2)
    config = RunConfig(survey="x", network=network, cam=CamConfig(scales=(1.0,)), training=training)
    epochs = plan(config)
    assert [e.stage for e in epochs] == ["warm-up", *["fine-tune"] * 2, *["self-training"] * 2]
    assert [e.number for e in epochs if restarts(e)] == [2, 4]
    assert [e.number for e in epochs if ends_round(e, epochs)] == [3, 5]
    assert [branch_progress(e, 0, 1) for e in epochs] == [0, 1, 1, 1, 1]
    assert epochs_before_rounds(network, training) == 3
    assert epochs_before_rounds(NetworkConfig(), training) == 1
    assert plan(config.model_copy(update={"stage": "warm-up"})) == epochs[:3]


def test_the_last_epoch_of_each_round_ends_it() -> None:
    epochs = planned(warmup_epochs=2, rounds=2, epochs_per_round=3)
    assert [e.number for e in epochs if ends_round(e, epochs)] == [2, 5, 8]


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(0, 3))
def test_rounds_that_begin_again_do_not_know_how_many_follow(
    rounds: int, more: int, length: int, warm_up: int
) -> None:
    settings = {"warmup_epochs": warm_up, "epochs_per_round": length, "restart_each_round": True}
    short, long = (planned(rounds=count, **settings) for count in (rounds, rounds + more))
    assert long[: len(short)] == short
    rates = [learning_rate_factor(e, s, 4, 0.9) for e in long[warm_up:] for s in range(4)]
    assert rates == rates[: 4 * length] * (rounds + more)


def test_learning_rate_rises_then_falls_to_nothing() -> None:
    config = RunConfig(survey="x", training=TrainingConfig(warmup_epochs=4, rounds=1, epochs_per_round=1))
    factors = [learning_rate_factor(e, s, 10, 0.9) for e in plan(config)[:4] for s in range(10)]
    assert 0 < factors[0] < 0.3
    peak = int(np.argmax(factors))
    assert peak <= 5
    assert all(np.diff(factors[peak:]) < 0)
    assert factors[-1] < 0.05


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 5), st.integers(0, 50))
def test_an_epoch_holds_every_multiclass_tile_and_no_more_single_ones(
    flags: list[bool], seed: int, epoch: int
) -> None:
    multiclass = np.array(flags)
    drawn = balanced_epoch(multiclass, seed=seed, epoch=epoch)
    assert len(set(drawn.tolist())) == len(drawn)
    several = int(multiclass.sum())
    single = len(multiclass) - several
    assert int(multiclass[drawn].sum()) == several
    expected_single = min(single, several) if several else single
    assert int((~multiclass[drawn]).sum()) == expected_single
    np.testing.assert_array_equal(drawn, balanced_epoch(multiclass, seed=seed, epoch=epoch))


@given(st.integers(1, 20), st.integers(0, 20))
def test_single_class_epochs_take_as_many_steps(single: int, several: int) -> None:
    multiclass = np.array([False] * single + [True] * several)
    drawn = single_class_epoch(multiclass, seed=0, epoch=1)
    assert len(drawn) == len(balanced_epoch(multiclass, seed=0, epoch=1))
    assert not multiclass[drawn].any()
