"""How notes, figures and pictures get into a study's database for Optuna Dashboard; trials stay as they are.

All of it lies in attributes of the study, also what belongs to a trial: an ended trial takes none.
Only what has changed is written, so that filling a running study in costs its workers little.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects, save_graph_object_json
from optuna_dashboard._note import (
    get_note_from_system_attrs,
    note_ver_key,
    save_note_with_version,
    split_body,
)
from plotly import graph_objects

from sonarseg.files.whole import whole_file

# What a person writes below this line of a study's note stays when the note is written anew.
OWN_NOTES = "## Own notes\n"
_PICTURES = uuid.UUID("6f1c2a52-5a0e-4d38-9a51-3d1f5f1f7a10")


class DashboardStore:
    """Writes to one study.

    Parameters
    ----------
    study : optuna.Study
        Opened for writing.
    """

    def __init__(self, study: optuna.Study) -> None:
        self.study = study
        self._storage, self._id = study._storage, study._study_id
        self._attrs: Mapping[str, Any] = self._storage.get_study_system_attrs(self._id)

    def write_study_note(self, body: str) -> None:
        """Write the study's note; what stands below `OWN_NOTES` is kept."""
        before = get_note_from_system_attrs(dict(self._attrs), None)
        own = before["body"].partition(OWN_NOTES)[2].strip()
        text = f"{body}\n{OWN_NOTES}\n{own}\n" if own else f"{body}\n{OWN_NOTES}"
        if text != before["body"]:
            save_note_with_version(self._storage, self._id, None, before["version"] + 1, text)

    def has_note(self, trial_id: int) -> bool:
        """Tell whether a trial has a note, ours or one that a person wrote."""
        return note_ver_key(trial_id) in self._attrs

    def write_trial_note(self, trial_id: int, body: str) -> None:
        """Write the note of a trial that has none."""
        # `save_note_with_version` would read the notes of all trials again, for each of them.
        for key, value in {**split_body(body, trial_id), note_ver_key(trial_id): 1}.items():
            self._storage.set_study_system_attr(self._id, key, value)

    def write_figure(self, key: str, figure: graph_objects.Figure) -> None:
        """Store a figure under its key, or in place of an older one."""
        text = figure.to_json()
        if get_plotly_graph_objects(dict(self._attrs)).get(key) != text:
            save_graph_object_json(self._storage, self._id, f"dashboard:plot_data:{key}:", text)

    def has_picture(self, trial_id: int) -> bool:
        """Tell whether a trial's picture was made, even where a person has removed it since."""
        return self._picture_key(trial_id) in self._attrs

    def write_picture(self, trial_id: int, name: str, content: bytes, artifacts_dir: Path) -> None:
        """Put a WebP picture into the artifact store and name it as a trial's artifact.

        It is named among the study's attributes, where Optuna Dashboard looks too: Optuna's own
        `upload_artifact` is refused once the trial has ended.
        """
        artifact_id = self._picture_id(trial_id)
        path = FileSystemArtifactStore(artifacts_dir)._get_filepath(artifact_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_bytes(content)
        meta = {"artifact_id": artifact_id, "filename": name, "mimetype": "image/webp", "encoding": None}
        self._storage.set_study_system_attr(self._id, self._picture_key(trial_id), json.dumps(meta))

    def _picture_id(self, trial_id: int) -> str:
        return str(uuid.uuid5(_PICTURES, f"{self.study.study_name}/{trial_id}"))

    def _picture_key(self, trial_id: int) -> str:
        return f"dashboard:artifacts:{trial_id}:{self._picture_id(trial_id)}"
