"""The steps, in the order in which they are done, and how long each may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """A step; its module in this folder has its name.

    Attributes
    ----------
    seconds : float
        Time limit on a CUDA device.
    alone : bool
        Its times count, so nothing else runs meanwhile. Of the others only the outcome counts: they run at
        the same time, after all that run alone.
    surveys : bool
        It reads the simulated surveys.
    on_request : bool
        It takes so long that it is done only if `--only` names it.
    """

    name: str
    seconds: float
    alone: bool = True
    surveys: bool = True
    on_request: bool = False


STEPS = (
    Step("environment", 90, surveys=False),
    Step("crf", 80, surveys=False),
    Step("crf_fused", 90, surveys=False),
    Step("training", 140),
    Step("plain_loops", 120),
    Step("lovasz", 40, surveys=False),
    Step("study", 40),
    Step("costs", 80),
    Step("whole_run", 360, on_request=True),
    Step("tests", 170, alone=False, surveys=False),
    Step("deterministic", 170, alone=False),
    Step("out_of_memory", 120, alone=False),
    Step("tune", 200, alone=False),
)


def chosen(only: str) -> list[Step]:
    """Steps that `--only` names, with commas between, in their order; without names all but those on request.

    Raises
    ------
    ValueError
        If a name is none of a step.
    """
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = [step.name for step in STEPS]
    for name in names:
        if name not in known:
            raise ValueError(f"there is no step {name!r}: choose among {', '.join(known)}")
    return [step for step in STEPS if (step.name in names if names else not step.on_request)]
