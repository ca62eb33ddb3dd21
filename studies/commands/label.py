"""Command: label a survey's tiles and draw masks in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from studies.commands.survey import SurveyArgument


def label(
    survey: SurveyArgument,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 0,
) -> None:
    """Label the tiles of a survey in a browser on this machine, until it is stopped with Ctrl-C.

    The address holds a token that opens the page once. Each change is in labels.csv and masks/ at once.
    """
    from studies.commands.options.nearby import refuse_no_survey
    from studies.commands.terminal import phases
    from studies.commands.terminal.console import say
    from studies.labelling.serve import serve_labelling

    refuse_no_survey(survey)
    phases.now("opening the survey")

    def show(sentence: str) -> None:
        phases.rest()
        say(sentence)

    serve_labelling(survey, port, show)
