"""What `confirm` stored, on the page: means recomputed from the confusions, verdicts from the intervals."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.confirmations import page_of, record
from tests.support.fake_studies import confusions
from tests.support.stored_scores import brute_force


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
