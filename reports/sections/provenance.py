"""Where the numbers come from: survey, settings, versions, device, openings of the test split."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from objectives.records import attributes as attr
from objectives.records.study import Study, test_openings
from reports.style.formatting import count, moment, seconds
from sonarseg.files.plain_text import plain


@dataclass(frozen=True)
class Provenance:
    """What the last section lists.

    Attributes
    ----------
    facts : list of (label, text)
    versions : list of (package, version)
    openings : list of (time, what)
        Every time the masks of the test split were read.
    config : str
        study.toml as the study stored it, as JSON; empty where none was stored.
    command : str
        Repeats the studies from study.toml.
    """

    facts: list[tuple[str, str]]
    versions: list[tuple[str, str]]
    openings: list[tuple[str, str]]
    config: str
    command: str


def provenance(studies: dict[str, Study], workspace: Path) -> Provenance:
    """Collect the facts; where both studies hold one they agree or both are listed."""
    found = list(studies.values())
    facts: list[tuple[str, str]] = []
    for label, values in (
        ("survey", [s.survey.get("name") for s in found]),
        ("fingerprint", [s.survey.get("fingerprint") for s in found]),
        ("classes", [", ".join(s.classes) for s in found]),
        ("background class", [s.survey.get("background") for s in found]),
        ("tiles", [_tiles(s.survey.get("tiles")) for s in found]),
        ("tiles of several classes", [_tiles(s.survey.get("multiclass")) for s in found]),
        ("tuned for", [s.metric for s in found]),
        ("note", [s.metric_note for s in found]),
        ("seed", [s.attrs.get(attr.SEED) for s in found]),
        ("device", [s.attrs.get(attr.DEVICE) for s in found]),
        ("dense CRF engine", [s.attrs[attr.ENGINE] for s in found if attr.ENGINE in s.attrs]),
        ("dense CRF engine, measured", [s.attrs.get(attr.ENGINE_NOTE) for s in found]),
        ("batch size", [_batch_sizes(s.attrs.get(attr.BATCH_SIZE)) for s in found]),
        ("created", [moment(str(s.attrs.get(attr.CREATED) or "")) for s in found]),
    ):
        different = list(dict.fromkeys(plain(value) for value in values if value not in (None, "")))
        if different:
            facts.append((label, " / ".join(different)))
    for study in found:
        spent = sum(trial.seconds or 0.0 for trial in study.trials)
        facts.append((f"time of all {study.kind} trials", seconds(spent)))
        facts += _energy(study)
        if study.weighs_seconds:
            facts.append((f"{study.kind} study weighs", f"{study.metric} against seconds per tile"))
        for label, shares in (
            ("machines", Counter(trial.host for trial in study.trials if trial.host is not None)),
            ("devices", Counter(trial.device for trial in study.trials if trial.device is not None)),
        ):
            if shares:
                shared = ", ".join(f"{name}: {count(n, 'trial')}" for name, n in shares.most_common())
                facts.append((f"{label} of the {study.kind} study", shared))
    versions: dict[str, list[str]] = {}
    for study in found:
        for name, version in _dict(study.attrs.get(attr.VERSIONS)).items():
            versions.setdefault(plain(name), []).append(plain(version))
    config = next((study.attrs[attr.CONFIG] for study in found if study.attrs.get(attr.CONFIG)), None)
    return Provenance(
        facts,
        sorted((name, " / ".join(dict.fromkeys(each))) for name, each in versions.items()),
        [(moment(time), plain(what)) for time, what in test_openings(found)],
        "" if config is None else _shown(config),
        _commands(found, plain(workspace.resolve().name)),
    )


def _shown(config: object) -> str:
    """Write the settings as JSON, with no character that changes how the others are read."""
    lines = json.dumps(config, indent=2, ensure_ascii=False).split("\n")
    return "\n".join(" " * (len(line) - len(line.lstrip())) + plain(line) for line in lines)


def _commands(studies: list[Study], workspace: str) -> str:
    """Write what repeats the studies that were begun, and the confirmations that were made of them."""
    named = shlex.quote(workspace)
    begun = [study.kind for study in studies if any(trial.counted for trial in study.trials)]
    what = begun[0] if len(begun) == 1 else "all"
    sources = dict.fromkeys(source for study in studies for source in study.sources)
    commands = [f"sonarseg tune {what} {named} --from {shlex.quote(source)}" for source in sources]
    commands = commands or [f"sonarseg tune {what} {named}"]
    for study in studies:
        record = _dict(study.attrs.get(attr.CONFIRM))
        results, seeds = _dict(record.get("results")), record.get("seeds")
        if results:
            split = "test" if "test" in results else "val"
            anew = f" --seeds {len(seeds)}" if study.kind == "loss" and isinstance(seeds, list) else ""
            commands.append(f"sonarseg confirm {named} --study {study.kind} --split {split}{anew}")
    return "\n".join(commands)


def _energy(study: Study) -> list[tuple[str, str]]:
    told = [trial.joules for trial in study.trials if trial.joules is not None]
    if not told:
        return []
    text = f"{sum(told) / 3.6e6:.3g} kWh, as the driver counts the whole GPU during {count(len(told), 'run')}"
    return [(f"energy of the {study.kind} study", text)]


def _tiles(counts: object) -> str:
    return ", ".join(f"{number} {split}" for split, number in _dict(counts).items())


def _batch_sizes(chosen: object) -> str:
    """The batch size of all runs, and those before it: their trials were set aside and run again."""
    if not isinstance(chosen, list) or not chosen:
        return ""
    steps = [(_dict(step).get("batch_size"), _dict(step).get("why")) for step in chosen]
    return "; then ".join(f"{number} ({why})" for number, why in steps)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
