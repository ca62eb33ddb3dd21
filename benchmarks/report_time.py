"""`make bench-reports`: the report of a long study beside Optuna's own plots of the same study, in turn.

Times writing the page and opening it in headless Chromium, and takes its size. The peer is what people
write without this project: `optuna.visualization` figures of both studies, put into one page by plotly's
`to_html` with plotly.js inlined once. Writes benchmarks/results/reports.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial
from result_rows import Row, row, seconds, write_rows
from selenium.common.exceptions import TimeoutException

# this file has the name of the package: the project's folder goes first
sys.path.insert(0, str(Path(__file__).parents[1]))

from reports.page.build import write_report
from sonarseg.metrics.confusion import pack_confusions
from sonarseg.metrics.iou import survey_scores
from tests.support.fake_studies import (
    CLASSES,
    CRF_SPACE,
    LOSS_SPACE,
    confusions,
    crf_quality,
    fill_crf,
    metrics_line,
    new_study,
    write_metrics,
)
from tests.support.fake_workspace import write_pictures

EPOCHS = 60
LONGEST_OPENING = 60.0


def long_crf_study(workspace: Path, trials: int) -> None:
    """Fill a crf study with named and searched trials, copied in from memory."""
    study = new_study(workspace, "crf")
    small = optuna.create_study(direction="maximize")
    fill_crf(small, searched=20)
    generator = np.random.default_rng(1)
    made = small.get_trials()
    packed = {trial.number: trial.user_attrs for trial in made if trial.values}
    while len(made) < trials:
        params = made[5].params | {
            "sigma_alpha": float(np.exp(generator.uniform(0.7, 4.6))),
            "sigma_beta": float(np.exp(generator.uniform(0, 4.0))),
            "w_bilateral": float(np.exp(generator.uniform(-4, 2.9))),
            "iterations": int(generator.integers(1, 16)),
        }
        attrs = packed[5 + len(made) % 5] | {"curve": [0.4 + 0.01 * i for i in range(16)]}
        attrs["seconds"] = float(generator.uniform(2, 5))
        space = {name: CRF_SPACE[name] for name in params}
        value = crf_quality(params)
        made.append(
            create_trial(
                state=TrialState.COMPLETE, value=value, params=params, distributions=space, user_attrs=attrs
            )
        )
    study.add_trials(made)


def long_loss_study(workspace: Path, trials: int) -> None:
    """Fill a loss study: every run left EPOCHS lines on disk and as many reported values."""
    study = new_study(workspace, "loss")
    write_metrics(workspace / "runs" / "warm-up", [metrics_line(e, 0, 0.5, e / 60, "") for e in range(1, 11)])
    generator = np.random.default_rng(2)
    matrices = [confusions(0.6 + 0.01 * i, i) for i in range(12)]
    stored = [
        {"confusions": pack_confusions(m), "metrics": dict(survey_scores(m, CLASSES))} for m in matrices
    ]
    made = []
    for number in range(trials):
        loss = ("cross-entropy", "focal", "lovasz_softmax")[number % 3]
        params: dict[str, Any] = {"loss": loss}
        if loss == "focal":
            params |= {"gamma": float(generator.uniform(0, 5)), "alpha": float(generator.uniform(0, 1))}
        lines = [metrics_line(e, 1 + e // 20, 0.7, e / EPOCHS, loss) for e in range(1, EPOCHS + 1)]
        run = f"runs/loss-{number:04d}"
        write_metrics(workspace / run, lines)
        attrs = stored[number % len(stored)] | {
            "run": run,
            "seed": number // 3 if loss != "focal" else 0,
            "setting": json.dumps(params),
            "seconds": 300.0,
        }
        made.append(
            create_trial(
                state=TrialState.COMPLETE,
                value=attrs["metrics"]["miou_multiclass"],
                params=params,
                distributions={name: LOSS_SPACE[name] for name in params},
                user_attrs=attrs,
                intermediate_values={line["epoch"]: line["miou_multiclass"] for line in lines},
            )
        )
    study.add_trials(made)


def peer_page(workspace: Path, target: Path) -> Path:
    """Write Optuna's own plots of both studies into one page, plotly.js inlined once."""
    from optuna import visualization as plots

    crf, loss = (
        optuna.load_study(study_name=kind, storage=f"sqlite:///{workspace / 'study.db'}")
        for kind in ("crf", "loss")
    )
    figures = [
        plots.plot_optimization_history(crf),
        plots.plot_param_importances(crf),
        plots.plot_parallel_coordinate(crf),
        plots.plot_contour(crf, params=["sigma_alpha", "sigma_beta"]),
        plots.plot_slice(crf),
        plots.plot_optimization_history(loss),
        plots.plot_intermediate_values(loss),
        plots.plot_contour(loss, params=["gamma", "alpha"]),
    ]
    parts = [
        figure.to_html(full_html=False, include_plotlyjs=place == 0) for place, figure in enumerate(figures)
    ]
    body = "\n".join(parts)
    end = "<script>document.documentElement.dataset.drawn = 'all'</script>"
    page = f"<!DOCTYPE html><html><head><meta charset='utf-8'></head><body>{body}{end}</body></html>"
    target.write_text(page, encoding="utf-8")
    return target


def opened(page: Path, profile: Path) -> tuple[float, float]:
    """Seconds until the first plot stands, and until all do, in a browser that is warm.

    A page that has not opened after `LONGEST_OPENING` is closed and counted with that time.
    """
    from tests.support.report_browser import Browser

    browser = Browser(profile)
    try:
        browser.driver.get("about:blank")
        # the page tells the time itself: asking from outside would wait for its script to pause
        callbacks = (
            "new MutationObserver(function (_, o) {"
            "if (!document.querySelector('.js-plotly-plot .main-svg')) return;"
            "window.firstPlot = performance.now(); o.disconnect(); })"
            ".observe(document, {childList: true, subtree: true})"
        )
        browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": callbacks})
        browser.driver.set_page_load_timeout(LONGEST_OPENING)
        try:
            browser.open(page, 1440)
        except TimeoutException:
            return LONGEST_OPENING, LONGEST_OPENING
        last = browser.ask("performance.now()") / 1000
        return browser.ask("window.firstPlot") / 1000, last
    finally:
        browser.driver.quit()


def measure(folder: Path, trials: int, repeats: int) -> list[Row]:
    """Measure both pages of one study, in turn."""
    workspace = folder / f"long-{trials}"
    long_crf_study(workspace, trials)
    long_loss_study(workspace, min(trials, 1000))
    write_pictures(workspace, rows=5)
    ours, peer = workspace / "report.html", workspace / "peer.html"
    writing: dict[str, list[float]] = {"ours": [], "peer": []}
    opening: dict[str, list[tuple[float, float]]] = {"ours": [], "peer": []}
    for turn in range(repeats):
        writing["ours"].append(seconds(lambda: write_report(workspace)))
        pages = [("ours", ours)]
        if turn == 0:
            # Once: it takes minutes, and no repeat would change the picture.
            writing["peer"].append(seconds(lambda: peer_page(workspace, peer)))
            pages.append(("peer", peer))
        for name, page in pages:
            opening[name].append(opened(page, folder / f"profile-{trials}-{turn}-{name}"))
    what = f"{trials} crf trials, {min(trials, 1000)} loss trials of {EPOCHS} epochs"
    first = {name: float(np.median([f for f, _ in found])) for name, found in opening.items()}
    last = {name: float(np.median([t for _, t in found])) for name, found in opening.items()}
    size = {"ours": ours.stat().st_size / 1e6, "peer": peer.stat().st_size / 1e6}
    wrote = {name: float(np.median(found)) for name, found in writing.items()}
    measured = {
        "write the page": (wrote, "s"),
        "size of the page": (size, "MB"),
        "first plot in the browser": (first, "s"),
        "all plots in the browser": (last, "s"),
    }
    return [
        row(f"{what}: {case}", found["ours"], found["peer"], unit, larger_is_better=False, digits=3)
        for case, (found, unit) in measured.items()
    ]


def main() -> None:
    """Measure 1,000 and 10,000 trials."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument(
        "--repeats", type=int, default=3, help="repeats of the first size; larger ones run once"
    )
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for place, trials in enumerate(arguments.trials):
            rows += measure(Path(folder), trials, arguments.repeats if place == 0 else 1)
    write_rows("reports", rows)


if __name__ == "__main__":
    main()
