"""One file for a colleague: the model, its settings and the report, without survey and database."""

from __future__ import annotations

import json
import zipfile
from importlib.metadata import version
from pathlib import Path

from sonarseg.errors import UserError
from sonarseg.files.whole import whole_file
from sonarseg.training.checkpoint.files import CHECKPOINT
from sonarseg.training.run_folder.config import CONFIG
from sonarseg.training.run_folder.record import SUMMARY
from studies.config import STUDY_TOML
from studies.template import study_toml
from studies.workspace import Workspace

MODEL = "model.json"
_OF_RUN = (CONFIG, SUMMARY, CHECKPOINT)
_README = """\
A model of sonarseg {version}: maps of sea-floor classes from side-scan sonar tiles.

    sonarseg predict {folder} --images TILES -o MAPS

writes the maps of the tiles in the folder TILES (.png, .tif). They must look as those that the model was
trained on: the same sonar, grey levels and pixel size. report.html tells how good it is, {toml} how it
was trained.
"""


def pack(workspace: Workspace, run_dir: Path, report: Path, output: Path) -> Path:
    """Write a ZIP file of what `sonarseg predict` needs, and return its path.

    Parameters
    ----------
    run_dir : Path
        The trained run, in `runs/`.
    report : Path
        report.html.
    output : Path
        The file; it appears whole or not at all. Its folder is made.

    Raises
    ------
    UserError
        If there is such a file, or the run has no network.
    """
    if output.exists():
        raise UserError(f"{output} exists and is not overwritten: name another file with --output.")
    if not (run_dir / CHECKPOINT).is_file():
        raise UserError(f"{run_dir / CHECKPOINT} is missing: only a trained run can be packed.")
    folder = f"{workspace.root.resolve().name}-model"
    # Any device: the colleague's machine is another one.
    config = workspace.config.model_copy(update={"device": "auto"})
    model = {"run": f"runs/{run_dir.name}", "sonarseg": version("sonarseg")}
    readme = _README.format(version=version("sonarseg"), folder=folder, toml=STUDY_TOML)
    output.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(output) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{folder}/README.txt", readme)
        archive.writestr(f"{folder}/{STUDY_TOML}", study_toml(config))
        archive.writestr(f"{folder}/{MODEL}", json.dumps(model, indent=1) + "\n")
        archive.write(report, f"{folder}/report.html")
        for name in _OF_RUN:
            if (run_dir / name).is_file():
                # Weights do not shrink.
                kind = zipfile.ZIP_STORED if name == CHECKPOINT else zipfile.ZIP_DEFLATED
                archive.write(run_dir / name, f"{folder}/{model['run']}/{name}", kind)
    return output


def packed_run(workspace: Workspace) -> Path | None:
    """Find the run of an unpacked file; None in a workspace with studies.

    Raises
    ------
    UserError
        If its model.json is damaged.
    """
    path = workspace.root / MODEL
    if workspace.database_path.is_file() or not path.is_file():
        return None
    try:
        name = str(json.loads(path.read_text(encoding="utf-8"))["run"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): unpack the file again.") from error
    return workspace.runs_dir / Path(name).name
