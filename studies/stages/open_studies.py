"""Open the studies of a workspace, which must still fit its survey and its study.toml."""

from __future__ import annotations

from pathlib import Path

import optuna

from objectives.records import attributes as attr
from objectives.records.study import REQUIRED, StudyKind
from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import Survey
from studies.compatibility import check_compatible, describe, directions_of
from studies.stages.masks_drawn_later import take_masks_in
from studies.storage.open import create_database, create_missing, has_studies, load_studies, storage_errors
from studies.workspace import Workspace


def open_studies(
    workspace: Workspace, progress: Progress = silent
) -> tuple[Survey, dict[StudyKind, optuna.Study]]:
    """Make the database where there is none; else check that it still fits survey and study.toml.

    Raises
    ------
    UserError
        Where the workspace cannot be written to, or new trials could not be compared with old ones.
    """
    survey = workspace.survey()
    path, config = workspace.database, workspace.config
    # Every file is read for it, now: nobody else should have to wait for that.
    progress("hashing the survey", 0, 0, "")
    survey.fingerprint  # noqa: B018
    progress("opening the studies", 0, 0, "")
    with workspace.lock(progress), storage_errors(path):
        described = describe(survey, config)
        if not has_studies(path, described):
            create_database(path, described, directions_of(config))
        elif isinstance(path, Path):
            for kind in create_missing(path, described, directions_of(config)):
                if kind not in REQUIRED:
                    # It may be wished for later than the others.
                    continue
                progress(f"{kind} study", 0, 1, "was removed, and begins again; the warm-up is kept")
        studies = load_studies(path)
        if masks := take_masks_in(studies, survey, config):
            progress("val", masks, masks, "tiles have masks now, so settings are tuned; the warm-up is kept")
        for study in studies.values():
            check_compatible(study, survey, config, str(workspace.root))
            if study.user_attrs[attr.CONFIG] != config.model_dump(mode="json"):
                study.set_user_attr(attr.CONFIG, config.model_dump(mode="json"))
    return survey, studies
