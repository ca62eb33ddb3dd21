"""Measure the tables of docs/results.md: `python benchmarks/measure_results.py WORKSPACE [--seeds N]`.

The workspace's crf study must be finished (`sonarseg tune crf`). Trials of its loss study serve as rows if
they are the same run. Every figure comes from a command of `sonarseg` that is printed as it runs; what is
there already is not measured again. The test split is opened, and the database notes it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import TrialState

from objectives.records.read import read_studies
from reports.findings.confirmed import confirmed
from reports.overview.summary import in_short
from reports.sections.crf import crf_section
from reports.sections.loss import loss_section
from reports.style.formatting import difference
from reports.style.interval_words import covers
from sonarseg.metrics.bootstrap import paired_interval
from sonarseg.metrics.confusion import unpack_confusions
from studies.commands.evaluate import file_name
from studies.main import app
from studies.storage.open import load_study

METRICS = ("miou", "miou_multiclass", "miou_paper")
CRF_ROWS = {
    "CAM argmax (no CRF)": "cam",
    "w-s3Tseg's CRF": "w-s3tseg",
    "IRN's CRF": "irn",
    "PSA's CRF": "psa",
    "DeepLab's CRF": "deeplab",
    "**tuned CRF**": "tuned",
}
# Fixed losses of the loss study that are the row's run.
TRIALS = {
    "tuned": "cross-entropy",
    "class-weighted": "class-weighted cross-entropy",
    "focal": "focal gamma 2",
    "lovasz": "Lovász-Softmax",
}
RUN_ROWS = {
    "cross-entropy, no CRF": ("no-crf", ["--crf", "no-crf"]),
    "cross-entropy, w-s3Tseg's CRF": ("w-s3tseg", ["--crf", "w-s3tseg"]),
    "cross-entropy, tuned CRF": ("tuned", []),
    "cross-entropy, single-label tiles only": ("single-label", ["--supervision", "single-label"]),
    "class-weighted cross-entropy, tuned CRF": ("class-weighted", ["--loss", "class-weighted"]),
    "focal (gamma 2), tuned CRF": ("focal", ["--loss", "focal"]),
    "Lovász-Softmax, tuned CRF": ("lovasz", ["--loss", "lovasz_softmax"]),
    "cross-entropy, train masks (upper bound)": ("masks", ["--supervision", "masks"]),
}


def command(*arguments: str) -> None:
    """Run a command of sonarseg and show it."""
    print("$ sonarseg " + " ".join(arguments), flush=True)
    app(list(arguments), standalone_mode=False)


def evaluation(workspace: Path, target: str, split: str) -> dict[str, Any]:
    """Score a target once; read what is there."""
    path = workspace / "evaluations" / f"{file_name(target)}-{split}.json"
    if not path.is_file():
        command("evaluate", target, "--split", split, "--workspace", str(workspace))
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def trials_by_seed(workspace: Path, name: str) -> dict[int, int]:
    """Trials of the loss study that are the row's run: seed to trial number."""
    trials = load_study(workspace / "study.db", "loss").get_trials(
        deepcopy=False, states=(TrialState.COMPLETE,)
    )
    named = [t for t in trials if t.user_attrs.get("name") == TRIALS.get(name, "")]
    return {
        t.user_attrs["seed"]: t.number
        for t in trials
        if named and t.user_attrs["setting"] == named[0].user_attrs["setting"]
    }


def run_evaluations(workspace: Path, name: str, options: list[str], seeds: int) -> Iterator[list[Any]]:
    """Train and score a run with each seed: [val, test] per seed.

    Trials of the loss study serve if they are the same run.
    """
    trials = trials_by_seed(workspace, name)
    for seed in range(seeds):
        if seed in trials:
            target = f"loss:{trials[seed]}"
        else:
            target = str(workspace / "runs" / f"results-{name}-{seed}")
            if not (Path(target) / "summary.json").is_file():
                command("run", target, "--workspace", str(workspace), *options, "--seed", str(seed))
        yield [evaluation(workspace, target, split) for split in ("val", "test")]


def line(title: str, used: bool, results: list[list[Any]]) -> str:
    """One row of the table: means over seeds."""
    cells = []
    for split in (0, 1):
        for metric in METRICS:
            values = [result[split]["scores"][metric] for result in results]
            cells.append("–" if None in values else f"{np.mean(values):.3f}")
    return f"| {title} | {'yes' if used else 'no'} | " + " | ".join(cells) + " |"


def gain(ours: list[list[Any]], other: list[list[Any]], *, seeds: bool) -> str:
    """Difference of test `miou_multiclass`, and what its interval says; the sentence of every report."""
    runs = [
        np.stack([unpack_confusions(result[1]["confusions"]) for result in results])
        for results in (ours, other)
    ]
    groups = ours[0][1]["groups"]
    found = paired_interval(*runs, "miou_multiclass", groups=groups, seeds=seeds)
    return f"{difference(found.value)} ({covers(found, 'test')})"


def gained(workspace: Path) -> list[str]:
    """What the searches gained, in the sentences of the report, one item per study that has trials.

    The gain of the crf search is stated three times: on the tiles that chose the setting, on strips of val
    that did not choose, and on test.
    """
    studies = {kind: study for kind, study in read_studies(workspace).items() if study.complete}
    again = confirmed(studies["crf"])
    if again is None or all(row.split != "test" for row in again.rows):
        command("confirm", str(workspace), "--study", "crf", "--split", "test")
        studies["crf"] = read_studies(workspace)["crf"]
    loss = loss_section(studies["loss"], workspace) if "loss" in studies else None
    sentences = in_short(crf_section(studies["crf"]), loss)
    return sentences[: len(studies)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", nargs="*", default=[name for name, _ in RUN_ROWS.values()])
    arguments = parser.parse_args()
    workspace = arguments.workspace
    crf = {
        title: [[evaluation(workspace, target, split) for split in ("val", "test")]]
        for title, target in CRF_ROWS.items()
    }
    runs = {
        title: list(run_evaluations(workspace, name, options, arguments.seeds))
        for title, (name, options) in RUN_ROWS.items()
        if name in arguments.rows
    }
    head = ["", "split's image labels used", *(f"{s} `{m}`" for s in ("val", "test") for m in METRICS)]
    table = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    table += [line(title, True, results) for title, results in crf.items()]
    table += [line(title, False, results) for title, results in runs.items()]
    guess = crf["**tuned CRF**"][0]
    table.append(
        "| best constant guess | no | "
        + " | ".join(f"{g['constant_guess'][m]:.3f}" for g in guess for m in METRICS)
        + " |"
    )
    tuned = crf["**tuned CRF**"]
    table += ["", "What the searches gained:", ""]
    table += [f"- {sentence}" for sentence in gained(workspace)]
    table += ["", "Differences of test `miou_multiclass`:", ""]
    table += [
        f"- tuned CRF over {title}: {gain(tuned, crf[title], seeds=False)}"
        for title in crf
        if "tuned" not in title
    ]
    final = "cross-entropy, tuned CRF"
    if final in runs:
        cam = crf["CAM argmax (no CRF)"] * arguments.seeds
        others = {title: found for title, found in runs.items() if title != final} | {"CAM argmax": cam}
        ours = f"final model ({final})"
        table += [
            f"- {ours} over {title}: {gain(runs[final], found, seeds=True)}"
            for title, found in others.items()
        ]
    warm_up = json.loads((workspace / "runs" / "warm-up" / "summary.json").read_text(encoding="utf-8"))
    precision = ", ".join(
        f"{name} {value:.3f}" for name, value in warm_up["average_precision"].items() if value is not None
    )
    table += ["", f"Classifier's average precision on val: {precision}."]
    text = "\n".join(table) + "\n"
    (workspace / "results.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
