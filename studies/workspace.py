"""The workspace: one folder a study, which works elsewhere when it is copied."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objectives.map_space import with_maps
from sonarseg.errors import UserError
from sonarseg.files.texts import read_text
from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import Survey, open_survey
from studies.config import STUDY_TOML, StudyConfig, find_line, load_study_config

if TYPE_CHECKING:
    from studies.server_address import Location

# In the warm-up's folder: the cam trial that it is the run of
CHOSEN_MAPS = "chosen_maps.json"


class Workspace:
    """Names what lies where in a workspace folder.

    Parameters
    ----------
    root : Path
        The folder that holds study.toml.
    survey : Survey, optional
        Its survey, opened already.
    """

    def __init__(self, root: Path, survey: Survey | None = None) -> None:
        self.root = root
        self._survey = survey

    @cached_property
    def config(self) -> StudyConfig:
        """The content of study.toml; UserError where it is missing or wrong."""
        return load_study_config(self.root / STUDY_TOML)

    @property
    def chosen_maps(self) -> dict[str, Any] | None:
        """What the cam study has chosen for the warm-up, if it has: trial, params, seed, run."""
        path = self.warm_up_dir / CHOSEN_MAPS
        if not path.is_file():
            return None
        chosen: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return chosen

    @property
    def settled(self) -> StudyConfig:
        """The content of study.toml, the settings of the maps as the cam study has chosen them, if it has."""
        chosen = self.chosen_maps
        return self.config if chosen is None else with_maps(self.config, chosen["params"])

    @property
    def database_path(self) -> Path:
        """The SQLite file of both studies; a copy of them where the studies are on a server."""
        return self.root / "study.db"

    @property
    def address_path(self) -> Path:
        """Where the server of the studies is named, if they are on one."""
        return self.root / "storage.toml"

    @property
    def database(self) -> Location:
        """Where the studies are: the server of storage.toml, or the SQLite file."""
        # The driver of databases takes a while to import, and few commands need it.
        from studies.server_address import read_address

        return read_address(self.address_path) or self.database_path

    @property
    def runs_dir(self) -> Path:
        """Run folders: cam-0000, ..., warm-up, loss-0000, ..."""
        return self.root / "runs"

    @property
    def warm_up_dir(self) -> Path:
        """The run whose network gives the CAMs and from which every trial starts."""
        return self.runs_dir / "warm-up"

    @property
    def final_dir(self) -> Path:
        """The one plain run of a workspace in which nothing can be tuned."""
        return self.runs_dir / "final"

    @property
    def cams_dir(self) -> Path:
        """CAM scores, SPLIT/NAME.npy."""
        return self.root / "cams"

    @property
    def tiles_dir(self) -> Path:
        """The decoded tiles, which all runs share; made again where it was deleted."""
        return self.root / "tiles"

    @property
    def pseudo_labels_dir(self) -> Path:
        """First-round pseudo-labels, one folder a dense CRF setting."""
        return self.root / "pseudo_labels"

    @property
    def artifacts_dir(self) -> Path:
        """Files of the dashboard's artifact store."""
        return self.root / "artifacts"

    @property
    def pictures_dir(self) -> Path:
        """Label pictures of evaluations."""
        return self.root / "pictures"

    @property
    def maps_dir(self) -> Path:
        """Pixel maps that `predict` writes."""
        return self.root / "maps"

    @property
    def report_path(self) -> Path:
        """The HTML report."""
        return self.root / "report.html"

    @property
    def survey_path(self) -> Path:
        """The survey's folder."""
        return (self.root / self.config.survey).resolve()

    def survey_seen_from(self, folder: Path) -> str:
        """Name the survey for a file in `folder`: relative where study.toml is, else absolute."""
        if Path(self.config.survey).is_absolute():
            return self.config.survey
        return os.path.relpath(self.survey_path, folder.resolve())

    def survey(self) -> Survey:
        """Open the survey, only the masks of `val` opened; once, for all that this object is handed to.

        Raises
        ------
        UserError
            Where the survey has a problem; where study.toml names none, its line.
        """
        if not self.survey_path.is_dir():
            path = self.root / STUDY_TOML
            text = read_text(path)
            raise UserError(
                f"{path}, line {find_line(text, ['survey'])}: there is no folder "
                f"{self.survey_path}: name the folder of your survey, relative to study.toml or absolute."
            )
        if self._survey is None:
            self._survey = open_survey(self.survey_path, self.config.background)
        return self._survey

    @contextmanager
    def lock(self, progress: Progress = silent) -> Iterator[None]:
        """Keep other sonarseg commands out of this workspace, or wait until they are out.

        Raises
        ------
        UserError
            Where the workspace cannot be written to.
        """
        path = self.root / ".lock"
        try:
            file = path.open("a")
        except OSError as error:
            raise unwritable(self.root, error) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("waiting for another sonarseg command in this workspace", 0, 1)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def unwritable(root: Path, error: OSError) -> UserError:
    """Say that a workspace cannot be written to."""
    return UserError(
        f"{root} cannot be written to ({error.strerror}): "
        "put the workspace where you may write, or free its disk."
    )
