"""The cam study in sentences, and in facts for a program."""

from __future__ import annotations

from typing import Any

from objectives.records import attributes as attr
from objectives.records.study import Study
from reports.sections.cam import CamSection, MapsRow, cam_section
from reports.sections.trials import state_counts
from reports.style.formatting import count, difference, score


def cam_sentence(section: CamSection) -> str:
    """Tell what searching the maps brought."""
    study, best, untuned = section.study, section.best, section.untuned
    if study.untuned:
        return f"The class activation maps could not be searched: {study.untuned.rstrip('.')}."
    if best is None:
        counted = state_counts(study)
        return f"No trial of the cam study has ended well yet{f' ({counted})' if counted else ''}."
    start = f"The best class activation maps ({best.label}, {_seeds(best)}) are worth {study.metric} "
    start += f"{score(best.mean)} on val as pseudo-labels, without a CRF"
    if untuned is None or untuned is best:
        compared = "; they are untuned" if untuned is best else ""
    else:
        compared = f", the best untuned ones ({untuned.label}, {_seeds(untuned)}) {score(untuned.mean)}"
        ahead = best.mean - untuned.mean
        if len(untuned.trials) == len(best.trials):
            compared += f": {difference(ahead)} on the tiles that chose them"
    return f"{start}{compared}. Those of trial {section.median}, the median run, go on."


def _seeds(row: MapsRow) -> str:
    return f"mean of {len(row.trials)} seeds" if len(row.trials) > 1 else "one seed"


def swap_words(section: CamSection) -> str | None:
    """Say in how many trials classes have swapped, and how in the first; None if in none."""
    if not section.swaps:
        return None
    more = len(section.swaps) - 1
    return section.swaps[0] + (f" So they have in {count(more, 'more trial')}." if more else "")


def cam_facts(study: Study) -> dict[str, Any]:
    """List the facts of the cam study; its best is a mean over seeds, under the first run's number."""
    section = cam_section(study)
    best, untuned = section.best, section.untuned
    return {
        "best": None
        if best is None
        else {
            "trial": best.trials[0].number,
            "name": best.trials[0].name,
            "value": best.mean,
            "params": best.trials[0].params,
            "scores": best.trials[0].scores,
        },
        "best_untuned": None if untuned is None else {"name": untuned.label, "value": untuned.mean},
        "seeds": 0 if best is None else len(best.trials),
        "median": section.median,
        "swapped": section.swaps,
    }


def lineage(study: Study) -> dict[str, int]:
    """Numbers of the trials of earlier studies that a study's trials start from, by kind of study."""
    found: dict[str, int] = {}
    for kind, name in (("cam", attr.CAM), ("crf", attr.CRF)):
        chosen = study.attrs.get(name)
        if isinstance(chosen, dict) and isinstance(chosen.get("trial"), int):
            found[kind] = chosen["trial"]
    return found


def lineage_words(found: dict[str, int]) -> str | None:
    """Say what a study starts from; None if no earlier study has chosen it, or the crf study alone."""
    if "cam" not in found:
        return None
    maps = f"the maps of cam trial {found['cam']}"
    return f"starts from {maps}" + (
        f" and the dense CRF of crf trial {found['crf']}" if "crf" in found else ""
    )
