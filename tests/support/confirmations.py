"""What `sonarseg confirm` stores, made up, and the page that shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reports.page.build import render
from sonarseg.metrics.confusion import pack_confusions
from tests.support.fake_studies import LOSS_SPACE, TILES, add, confusions, new_study
from tests.support.report_page import Page

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
