"""What `confirm` stored, on the page: means recomputed from the confusions, verdicts from the intervals."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_studies import LOSS_SPACE, TILES, add, confusions, new_study
from report_page import Page
from test_report_numbers import brute_force

from reports.html import render
from sonarseg.metrics.confusion import pack_confusions

HOSTILE = "<script>window.pwned=1</script>=cmd \x1b[31m"


def record(gap: float, splits: tuple[str, ...] = ("val", "test"), seeds: int = 3) -> dict[str, Any]:
    runs = []
    for seed in range(seeds):
        for role, quality in (("winner", 0.7 + gap), ("baseline", 0.7)):
            found = {
                split: pack_confusions(confusions(quality, 10 * seed + len(role) + place))
                for place, split in enumerate(splits)
            }
            runs.append({"role": role, "seed": 1000 + seed, "run": None, "reason": None, "confusions": found})
    made: dict[str, Any] = {
        "metric": "miou_multiclass",
        "winner": {"name": HOSTILE},
        "baseline": {"name": "cross-entropy, w-s3Tseg"},
        "seeds": [1000 + seed for seed in range(seeds)],
        "tiles": dict.fromkeys(splits, TILES),
        "groups": {split: [tile.split("_")[0] for tile in TILES] for split in splits},
        "runs": runs,
        "finished": True,
    }
    return made | {"results": {split: {} for split in splits}}


def page_of(workspace: Path, stored: dict[str, Any]) -> Page:
    study = new_study(workspace, "loss")
    add(study, LOSS_SPACE, {"loss": "cross-entropy"}, 0.7, name="cross-entropy", setting="a", seed=0)
    add(study, LOSS_SPACE, {"loss": "lovasz_softmax"}, 0.8, noise=1, setting="b", seed=0)
    study.set_user_attr("confirm", stored)
    return Page(render(workspace, datetime(2026, 1, 1, tzinfo=UTC)))


def test_the_table_holds_means_over_seeds_on_both_splits(tmp_path: Path) -> None:
    stored = record(0.15)
    page = page_of(tmp_path, stored)
    rows = page.table("confirmed", "Split")[1:]
    assert [(row[0], row[1]) for row in rows] == [
        (split, metric) for split in ("val", "test") for metric in ("miou_multiclass", "miou", "miou_paper")
    ]
    for split, metric, *means, difference, interval, verdict in rows:
        expected = [
            np.mean(
                [
                    brute_force(confusions(quality, 10 * seed + len(role) + ("val", "test").index(split)))[
                        metric
                    ]
                    for seed in range(3)
                ]
            )
            for role, quality in (("winner", 0.85), ("baseline", 0.7))
        ]
        assert means == [f"{value:.3f}" for value in expected]
        assert float(difference.replace("−", "-")) == pytest.approx(expected[0] - expected[1], abs=6e-4)
        assert verdict == ("better" if split == "test" else "nothing new: the same tiles")
        assert (interval == "–") == (split == "val")
    assert (
        "Confirmed on test with 3 new seeds per side, winner and untuned baseline reach "
        in page.text["in-short"]
    )
    assert f"sonarseg confirm {tmp_path.name} --study loss --split test --seeds 3" in page.text["provenance"]
    assert "<script>window.pwned=1</script>=cmd �[31m against" in page.text["confirmed"]
    assert not [script for script in page.scripts if script.startswith("window.pwned")]
    assert "confirmed gain" in page.text["in-short"]
    assert "sonarseg confirm" not in page.text["in-short"]


def test_no_difference_may_be_chance_and_val_alone_asks_for_test(tmp_path: Path) -> None:
    page = page_of(tmp_path, record(0.0, splits=("val",)))
    assert {row[-1] for row in page.table("confirmed", "Split")[1:]} == {"nothing new: the same tiles"}
    assert "Scored again on val with 3 new seeds per side" in page.text["in-short"]
    assert "winner less baseline on val" in page.text["in-short"]
    told = page.text["in-short"] + page.text["confirmed"]
    assert not re.search("confirmed(?! on)", told.replace("not confirmed", ""), re.IGNORECASE)
    assert "sonarseg confirm --split test" in page.text["in-short"]


def test_failed_runs_are_told(tmp_path: Path) -> None:
    stored = record(0.1, splits=("val",), seeds=1)
    stored["runs"][0] |= {"reason": "Out of memory.", "confusions": {}}
    stored |= {"results": {}, "finished": False}
    page = page_of(tmp_path, stored)
    assert "Out of memory." in page.text["confirmed"]
    assert "The comparison of the loss with its baseline has no result yet." in page.text["in-short"]


def test_a_difference_on_test_that_may_be_chance_is_not_called_confirmed(tmp_path: Path) -> None:
    page = page_of(tmp_path, record(0.0, splits=("test",)))
    assert {row[-1] for row in page.table("confirmed", "Split")[1:]} == {"may be chance"}
    assert "Measured on test with 3 new seeds per side" in page.text["in-short"]
    assert "winner less baseline on test" in page.text["in-short"]
    assert "confirmed gain" not in page.text["in-short"]
