"""A workspace whose names and reasons hold markup, scripts, formulas and terminal escapes."""

from __future__ import annotations

import json
from pathlib import Path

from optuna.trial import TrialState

from tests.support.fake_studies import (
    CRF_SPACE,
    LOSS_SPACE,
    PUBLISHED,
    add,
    crf_quality,
    new_study,
    study_attrs,
)
from tests.support.fake_workspace import write_pictures

ATTACKS = [
    "</script><script>window.pwned = 1</script>",
    "<img src=x onerror=window.pwned=1>",
    '" onmouseover="window.pwned=1" x="',
    "{{ 7 * 191 }}{% raw %}",
    "<!--<script>",
    "\x1b[31mred\x1b[0m\u202edesrever\x00",
    "=HYPERLINK(1)",
    "<b>bold</b> %{y} &lt;i&gt; <a href='https://example.org'>x</a>",
]


def hostile_workspace(workspace: Path) -> Path:
    classes = ATTACKS[:4]
    attrs = study_attrs("crf", classes, device=ATTACKS[1], versions={ATTACKS[0]: ATTACKS[1]})
    attrs["survey"]["name"] = "bay " + " ".join(ATTACKS)
    attrs |= {"config": {ATTACKS[0]: ATTACKS[7]}, "test_openings": [{"time": "now", "what": ATTACKS[0]}]}
    crf = new_study(workspace, "crf", attrs)
    for number, attack in enumerate(ATTACKS):
        params = {**PUBLISHED["IRN"], "unary": "soft", "guide": "raw", "sigma_alpha": 10.0 + number}
        add(crf, CRF_SPACE, params, crf_quality(params), classes=classes, name=attack, enqueued=True)
        add(crf, CRF_SPACE, params, None, classes=classes, state=TrialState.FAIL, reason=attack)
    add(crf, CRF_SPACE, {**PUBLISHED["IRN"], "iterations": 3}, 0.6, noise=4, classes=classes)
    loss = new_study(workspace, "loss", attrs | {"kind": "loss"})
    for attack in ATTACKS:
        add(
            loss, LOSS_SPACE, {"loss": "focal", "gamma": 1.0, "alpha": 0.5}, 0.7, classes=classes,
            name=attack, setting=attack, seed=0, run="../../../../etc", intermediate={1: 0.2, 2: 0.3},
        )  # fmt: skip
    write_pictures(workspace, rows=1, classes=classes)
    rows = workspace / "pictures" / "rows.json"
    content = json.loads(rows.read_text(encoding="utf-8"))
    content["rows"][0]["tile"] = ATTACKS[0]
    content["rows"][0]["panels"][1]["title"] = ATTACKS[2]
    rows.write_text(json.dumps(content), encoding="utf-8")
    return workspace
