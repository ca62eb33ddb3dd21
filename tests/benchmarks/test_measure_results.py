"""The tables of docs/results.md say what was measured, in the sentences of the report."""

from pathlib import Path
from typing import Any

import pytest

from sonarseg.metrics.confusion import pack_confusions
from studies.storage.open import load_study
from tests.support.fake_studies import LOSS_SPACE, TILES, add, confusions, fill_crf, fill_loss, new_study

STRIPS = [tile.split("_")[0] for tile in TILES]


def results(qualities: list[float], groups: list[str] = STRIPS) -> list[list[Any]]:
    """Evaluations on val and test, one pair per seed."""
    found = [
        {"confusions": pack_confusions(confusions(q, n)), "groups": groups} for n, q in enumerate(qualities)
    ]
    return [[None, each] for each in found]


def confirmation() -> dict[str, Any]:
    runs = [
        {
            "role": role,
            "seed": None,
            "run": None,
            "reason": None,
            "confusions": {split: pack_confusions(confusions(quality, 3)) for split in ("val", "test")},
        }
        for role, quality in (("winner", 0.75), ("baseline", 0.74))
    ]
    return {
        "metric": "miou_multiclass",
        "winner": {"name": "tuned CRF"},
        "baseline": {"name": "w-s3Tseg"},
        "seeds": [None],
        "groups": dict.fromkeys(("val", "test"), STRIPS),
        "runs": runs,
        "finished": True,
    }


def test_models_of_one_seed_have_no_interval_and_of_three_they_have() -> None:
    from measure_results import gain

    one = gain(results([0.8]), results([0.7]), seeds=True)
    assert one.endswith("(one seed per loss: the difference may be chance; an interval takes 3)")
    three = gain(results([0.8] * 3), results([0.7] * 3), seeds=True)
    assert "95 % interval" in three
    assert three.endswith(" strips of test and 3 seeds resampled)")


def test_a_loss_is_written_with_a_minus_sign_as_in_the_report() -> None:
    from measure_results import gain

    assert gain(results([0.7]), results([0.8]), seeds=False).startswith("−0.")


def test_the_gain_of_the_search_is_told_on_val_twice_and_on_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import measure_results

    fill_crf(new_study(tmp_path, "crf"), searched=5)
    new_study(tmp_path, "loss")
    asked: list[tuple[str, ...]] = []

    def confirmed_by(*arguments: str) -> None:
        asked.append(arguments)
        load_study(tmp_path / "study.db", "crf").set_user_attr("confirm", confirmation())

    monkeypatch.setattr(measure_results, "command", confirmed_by)
    (sentence,) = measure_results.gained(tmp_path)
    assert "on the tiles that chose it. On strips that did not choose, the search gains " in sentence
    assert " on test, winner and untuned baseline reach " in sentence
    assert asked == [("confirm", str(tmp_path), "--study", "crf", "--split", "test")]


def test_the_losses_have_a_sentence_and_a_confirmation_is_not_made_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import measure_results

    monkeypatch.setattr(measure_results, "command", lambda *arguments: pytest.fail(" ".join(arguments)))
    fill_crf(crf := new_study(tmp_path, "crf"), searched=5)
    crf.set_user_attr("confirm", confirmation())
    fill_loss(new_study(tmp_path, "loss"), tmp_path, 1)
    _, losses = measure_results.gained(tmp_path)
    assert "(one seed each) Lovász-Softmax is best with " in losses


def test_repetitions_of_the_loss_study_serve_as_rows_of_their_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import measure_results

    loss = new_study(tmp_path, "loss")
    for seed, (name, quality) in enumerate([("Lovász-Softmax", 0.7), (None, 0.8)]):
        add(
            loss,
            LOSS_SPACE,
            {"loss": "lovasz_softmax"},
            quality,
            name=name,
            setting="lovasz_softmax",
            seed=seed,
        )
    add(
        loss,
        LOSS_SPACE,
        {"loss": "cross-entropy"},
        0.6,
        name="cross-entropy",
        setting="cross-entropy",
        seed=2,
    )
    asked: list[str] = []
    monkeypatch.setattr(measure_results, "command", lambda *arguments: asked.append(arguments[0]))
    monkeypatch.setattr(measure_results, "evaluation", lambda workspace, target, split: f"{target} {split}")
    found = list(measure_results.run_evaluations(tmp_path, "lovasz", [], 3))
    assert found[:2] == [["loss:0 val", "loss:0 test"], ["loss:1 val", "loss:1 test"]]
    assert "results-lovasz-2 val" in found[2][0]
    assert asked == ["run"]
