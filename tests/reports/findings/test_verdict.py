"""The verdict on a model follows from its runs, the guesses, its pseudo-labels and its training loss."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from objectives.records.read import read_studies
from reports.dashboard.notes import study_note
from reports.findings.guess_beaten import MARGIN
from reports.findings.verdict import Verdict, verdict
from reports.overview.summary import summarise
from reports.page.build import render
from reports.style.formatting import markdown_text
from sonarseg.metrics.bootstrap import Interval, paired_interval
from sonarseg.metrics.confusion import pack_confusions
from sonarseg.metrics.guesses import best_constant_guess
from sonarseg.metrics.iou import miou_multiclass
from tests.support.fake_studies import CLASSES, TILES, confusions, new_study, study_attrs
from tests.support.learned_studies import SETTLED, always, by_chance, learned
from tests.support.report_page import Page

GOOD = confusions(0.8, 1)
ONE_STRIP = ["one"] * len(TILES)


def judged(workspace: Path) -> Verdict:
    return verdict(read_studies(workspace), workspace)


def advice(workspace: Path) -> str:
    return Page(render(workspace, datetime(2026, 11, 23, tzinfo=UTC))).text["in-short"]


def mixed(share: float) -> NDArray[np.int64]:
    """Counts of one class everywhere but for a share of right pixels: a small lead over that guess."""
    guess, counts = best_constant_guess(GOOD, "miou_multiclass")
    for k in {*range(len(CLASSES))} - {guess}:
        right = (counts[:, k, guess] * share).astype(np.int64)
        counts[:, k, guess] -= right
        counts[:, k, k] += right
    return counts


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_a_model_that_learned_nothing_is_no_better_than_guessing(tmp_path: Path, seeds: int) -> None:
    found = judged(learned(tmp_path, [by_chance(seed) for seed in range(seeds)]))
    assert found.kind == "no better than guessing"
    assert found.figures["guess_class"] is None
    assert found.figures["low"] <= 0
    lead = found.figures["model"] - found.figures["guess"]
    assert abs(lead) < 0.02
    over = {
        1: ", 6 strips of val resampled",
        2: ", 6 strips of val resampled; it holds 0, so this may be chance), first of 2 seeds",
        3: ", 6 strips of val and 3 seeds resampled",
    }[seeds]
    assert found.sentence.startswith(
        f"No better than guessing: miou_multiclass {found.figures['model']:.3f} on val; guessing at random"
    )
    assert over in found.sentence


def test_a_model_that_predicts_one_class_is_the_constant_guess(tmp_path: Path) -> None:
    guess, counts = best_constant_guess(GOOD, "miou_multiclass")
    found = judged(learned(tmp_path, [always(guess)]))
    value = miou_multiclass(counts)
    assert found.kind == "no better than guessing"
    assert found.figures["guess_class"] == CLASSES[guess]
    assert found.figures["model"] == found.figures["guess"] == value
    assert f"the best constant guess ({CLASSES[guess]} everywhere) reaches {value:.3f}" in found.sentence


@pytest.mark.parametrize("groups", [ONE_STRIP, [None] * len(TILES)])
def test_without_an_interval_the_lead_must_reach_the_margin(tmp_path: Path, groups: list[str | None]) -> None:
    kinds = []
    for share in (0.02, 0.5):
        found = judged(learned(tmp_path / str(share), [mixed(share)], groups=groups))
        lead = found.figures["model"] - found.figures["guess"]
        assert lead > 0
        assert found.figures["low"] is None
        assert (lead >= MARGIN) == found.usable
        kinds.append(found.kind)
        few = "too few strips, 1 of val; it takes 6"
        none = "the survey names no strips, so neighbouring tiles may lie in different splits"
        why = few if groups is ONE_STRIP else none
        assert f"(no interval: {why}), and without one a model must be better by 0.050" in found.sentence
    assert kinds == ["no better than guessing", "usable, not confirmed"]


def test_with_strips_a_small_lead_that_every_strip_shows_is_enough(tmp_path: Path) -> None:
    found = judged(learned(tmp_path, [mixed(0.02)]))
    assert 0 < found.figures["low"] < found.figures["model"] - found.figures["guess"] < MARGIN
    assert found.kind == "usable, not confirmed"


@pytest.mark.parametrize(
    ("losses", "rounds", "fell"),
    [
        (SETTLED, None, 0.0194),
        ((0.5, 0.4, 0.31, 0.305, 0.304, 0.303), None, 0.0226),
        # The round before is another training: its labels were others.
        ((0.5, 0.4, 0.3, 0.2, 0.1), (1, 1, 2, 2, 2), None),
        ((0.4, 0.3, 0.2), None, None),
    ],
)
def test_a_training_loss_that_still_falls_makes_a_model_weak(
    tmp_path: Path, losses: tuple[float, ...], rounds: tuple[int, ...] | None, fell: float | None
) -> None:
    found = judged(learned(tmp_path, [GOOD], losses=losses, rounds=rounds))
    assert found.figures["loss_fell"] == (None if fell is None else pytest.approx(fell, abs=1e-4))
    weak = fell is not None and fell > 0.02
    assert (found.kind == "weak") == weak
    assert ("the training loss still fell by 2.3 % over the last 3 epochs" in found.sentence) == weak
    assert ("raise `epochs_per_round`".replace("`", "") in advice(tmp_path)) == weak


@pytest.mark.parametrize(("pseudo_labels", "kind"), [(0.9, "weak"), (0.7, "usable, not confirmed")])
def test_a_model_below_its_own_pseudo_labels_is_weak(tmp_path: Path, pseudo_labels: float, kind: str) -> None:
    found = judged(learned(tmp_path, [GOOD], shown=[confusions(0.82, 1)], pseudo_labels=pseudo_labels))
    assert found.kind == kind
    assert found.figures["model_shown"] == pytest.approx(miou_multiclass(confusions(0.82, 1)))
    assert found.figures["pseudo_labels"] == pytest.approx(miou_multiclass(confusions(pseudo_labels, 0)))
    assert ("less than the pseudo-labels that it learned from" in found.sentence) == (kind == "weak")
    assert ("falls short of its pseudo-labels" in advice(tmp_path)) == (kind == "weak")


def test_runs_of_older_workspaces_are_not_compared_with_pseudo_labels(tmp_path: Path) -> None:
    found = judged(learned(tmp_path / "old", [GOOD], pseudo_labels=0.9))
    assert (found.kind, found.figures["model_shown"]) == ("usable, not confirmed", None)
    others = confusions(0.5, 1)[::-1]
    found = judged(learned(tmp_path / "other tiles", [GOOD], shown=[others], pseudo_labels=0.9))
    assert (found.kind, found.figures["model_shown"]) == ("usable, not confirmed", None)


def test_a_class_that_no_mask_holds_makes_a_model_weak(tmp_path: Path) -> None:
    found = judged(learned(tmp_path, [GOOD], unscored=["rock"]))
    assert found.kind == "weak"
    assert "rock is in the labels of val but in none of its masks: not scored" in found.sentence
    assert "Draw masks of val tiles that show rock" in advice(tmp_path)


def measured(split: str, runs: list[NDArray[np.int64]], loss: str = "cross-entropy") -> dict[str, Any]:
    """What `confirm` stores of a winner with the given runs on a split."""
    return {
        "winner": {"name": "a", "loss": {"name": loss, "gamma": 0.0, "alpha": 0.0}},
        "baseline": {"name": "b"},
        "seeds": list(range(len(runs))),
        "runs": [
            {"role": "winner", "seed": seed, "reason": None, "confusions": {split: pack_confusions(counts)}}
            for seed, counts in enumerate(runs)
        ],
        "groups": {split: [tile.split("_")[0] for tile in TILES]},
    }


@pytest.mark.parametrize(
    ("split", "loss", "kind"),
    [
        ("test", "cross-entropy", "usable"),
        ("test", "focal", "usable, not confirmed"),
        ("val", "cross-entropy", "usable, not confirmed"),
    ],
)
def test_only_this_winner_measured_on_test_is_confirmed(
    tmp_path: Path, split: str, loss: str, kind: str
) -> None:
    found = judged(learned(tmp_path, [GOOD], confirm=measured(split, [GOOD], loss)))
    assert found.kind == kind
    assert ("Confirmed" in found.sentence) == (kind == "usable")


def test_a_model_that_is_no_better_than_guessing_on_test_is_not_confirmed(tmp_path: Path) -> None:
    found = judged(learned(tmp_path, [GOOD], confirm=measured("test", [by_chance(0), by_chance(1)])))
    assert found.kind == "usable, not confirmed"
    assert re.search(r"Test does not confirm it: 0\.\d{3} on test; guessing at random", found.sentence)
    assert "6 strips of test resampled" in found.sentence


def test_no_model_and_nothing_to_score_it_by(tmp_path: Path) -> None:
    assert verdict({}, tmp_path).kind == "no model yet"
    assert judged(learned(tmp_path / "empty", [])).kind == "no model yet"
    for kind in ("crf", "loss"):
        new_study(tmp_path / "untuned", kind, study_attrs(kind, CLASSES, untuned="no masks.", tiles=[]))
    found = judged(tmp_path / "untuned")
    assert (found.kind, found.sentence) == ("not scored", "Not scored: val has no masks.")
    survey = {"name": "bay", "classes": CLASSES, "tiles": {"train": 30, "val": 0, "test": 0}}
    empty = study_attrs("crf", CLASSES, untuned="no tile.", tiles=[], survey=survey)
    new_study(tmp_path / "empty val", "crf", empty)
    assert judged(tmp_path / "empty val").sentence == "Not scored: no tile is in val."


def test_notes_and_facts_give_the_same_sentence(tmp_path: Path) -> None:
    workspace = learned(tmp_path / "guess", [by_chance(0)])
    studies, found = read_studies(workspace), judged(workspace)
    assert summarise(workspace)["verdict"] == {
        "kind": found.kind,
        "sentence": found.sentence,
        "figures": found.figures,
    }
    body = study_note(studies["loss"], workspace, found).split("\n\n")
    assert body[1] == f"**{markdown_text(found.sentence)}**"
    assert markdown_text(found.sentence) not in study_note(studies["crf"], workspace, found)
    empty = learned(tmp_path / "empty", [])
    assert "**No model yet" in study_note(read_studies(empty)["crf"], empty, judged(empty))


def test_the_interval_is_computed_again_only_if_the_runs_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []

    def counted(*arguments: Any, **named: Any) -> Interval:
        computed.append(arguments)
        return paired_interval(*arguments, **named)

    monkeypatch.setattr("reports.findings.guess_beaten.paired_interval", counted)
    first = learned(tmp_path / "first", [confusions(0.81, 17)])
    assert judged(first) == judged(first)
    assert len(computed) == 1
    other = judged(learned(tmp_path / "other", [confusions(0.81, 18)]))
    assert len(computed) == 2
    assert other.figures["low"] != judged(first).figures["low"]


def test_what_next_follows_from_the_verdict(tmp_path: Path) -> None:
    nothing = advice(learned(tmp_path / "nothing", [by_chance(0)]))
    places = [
        nothing.index(words) for words in ("What next", "Look at the CAMs", "warmup_epochs", "labels.csv")
    ]
    assert places == sorted(places)
    assert "sonarseg confirm" not in nothing
    assert "sonarseg confirm --split test" in advice(learned(tmp_path / "good", [GOOD]))
    assert "sonarseg confirm" not in advice(learned(tmp_path / "weak", [GOOD], unscored=["rock"]))
