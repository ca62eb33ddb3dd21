"""Command: refine class scores on disk by the dense CRF, without a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sonarseg.errors import UserError

if TYPE_CHECKING:
    from pydantic import ValidationError

    from sonarseg.densecrf.parameters import CrfParameters
    from sonarseg.survey.scaling import GreyScaling


def refine(
    scores: Annotated[
        Path,
        typer.Argument(metavar="SCORES", help="Folder of NAME.npy, (K, H, W) in 0..1, or one such file."),
    ],
    images: Annotated[
        Path, typer.Argument(metavar="IMAGES", help="Folder of NAME.png, .tif or .jpg, or one picture.")
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for NAME.png, class ids; one .png for one file.")
    ],
    setting: Annotated[
        str, typer.Option(help="Published setting to start from: w-s3tseg, irn, psa, deeplab.")
    ] = "w-s3tseg",
    params: Annotated[
        list[str] | None,
        typer.Option(
            "--params",
            "--param",
            metavar="FILE|NAME=VALUE",
            help="What differs from the setting: a .toml or .json file, or sigma_alpha=30; can be repeated.",
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="CSV", help="labels.csv of a survey: the classes of each tile.")
    ] = None,
    background: Annotated[
        int | None, typer.Option(metavar="ID", min=0, help="Class that gets the constant background_score.")
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write NAME.npy, float16 (K, H, W).")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make tiles anew that are in OUT already.")
    ] = False,
    engine: Annotated[str, typer.Option(help="auto, numba, torch or pydensecrf.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    jobs: Annotated[int, typer.Option(min=0, help="Tiles at once; 0 is one a processor core.")] = 0,
) -> None:
    """Refine class scores by the dense CRF; tiles that are in OUT already are left alone.

    OUT holds refine.json, what its masks were made with; a command with other settings is refused.

    8-bit pictures are used as they are; 16-bit ones are scaled to 0..255 once, alike for all.
    """
    import time

    from joblib import cpu_count

    from sonarseg.densecrf.engines.base import pick_engine
    from sonarseg.densecrf.files.refine import refine_files
    from sonarseg.densecrf.files.scores import find_score_files
    from sonarseg.processes.signals import interruptible
    from sonarseg.survey.importers.shown_table import read_shown
    from sonarseg.survey.scaling import scaling_of
    from studies.commands.terminal.console import ConsoleProgress, say

    chosen = pick_engine(_engine_name(engine), device)
    with interruptible(), ConsoleProgress() as progress:
        files = find_score_files(scores, images, output, progress)
        if background is not None and background >= files.num_classes:
            raise UserError(
                f"--background {background} is no class of {scores}: "
                f"ids go from 0 to {files.num_classes - 1}."
            )
        shown = None
        if labels is not None:
            shown = read_shown(labels, list(files.scores), files.num_classes, background)
        scaling = scaling_of(list(files.pictures.values()))
        parameters = crf_parameters(setting, params or [], scaling.channels)
        say(f"{len(files.scores)} tiles of {files.num_classes} classes, {_levels(scaling)}")
        started = time.monotonic()
        written = refine_files(
            files,
            parameters,
            scaling,
            engine=chosen,
            shown=shown,
            background_id=background,
            probabilities=probabilities,
            overwrite=overwrite,
            jobs=jobs or int(cpu_count()),
            progress=progress,
        )
        seconds = time.monotonic() - started
    if skipped := len(files.scores) - written:
        say(f"{skipped} tiles skipped: they were there; --overwrite makes them anew")
    say(
        f"{written} tiles refined by {chosen} in {seconds:.1f} s"
        f"{f', {written / seconds:.1f} tiles a second' if written else ''}: {output}"
    )


def _levels(scaling: GreyScaling) -> str:
    """Say what becomes of the pictures' grey levels."""
    from sonarseg.survey.scaling import FLOATING

    kind = "grey" if scaling.channels == 1 else "RGB"
    if scaling.bits == 8:
        return f"{kind} pictures used as they are"
    digits = ".4g" if scaling.bits == FLOATING else ".0f"
    low, high = format(scaling.low, digits), format(scaling.high, digits)
    return f"{kind} pictures: levels {low} to {high} become 0 to 255 in all of them"


def _engine_name(text: str) -> Any:
    from typing import get_args

    from sonarseg.densecrf.engines.base import EngineName

    if text not in get_args(EngineName):
        raise UserError(f'--engine "{text}" is none: use {", ".join(get_args(EngineName))}.')
    return text


def crf_parameters(setting: str, params: list[str], channels: int) -> CrfParameters:
    """Put a published setting, the parameters of files and those of `NAME=VALUE` together, in this order.

    Raises
    ------
    UserError
        Where a setting, a file, a name or a value is wrong.
    """
    from pydantic import ValidationError

    from sonarseg.densecrf.parameters import CrfParameters
    from sonarseg.densecrf.published import PUBLISHED, published

    names = {name.lower().replace(" ", "-"): name for name in PUBLISHED}
    if setting.lower() not in names:
        raise UserError(f'--setting "{setting}" is none: use {", ".join(names)}.')
    values: dict[str, Any] = published(names[setting.lower()], 3 if channels == 3 else 1).model_dump()
    files = [text for text in params if text.lower().endswith((".toml", ".json"))]
    for text in files:
        values |= _parameter_file(Path(text))
    for text in params:
        if text in files:
            continue
        name, sign, value = text.partition("=")
        if not sign:
            raise UserError(f"--params {text} is neither NAME=VALUE nor a .toml or .json file: see --help.")
        values[name.strip()] = value.strip()
    try:
        return CrfParameters.model_validate(values)
    except ValidationError as error:
        raise UserError(f"--params: {_problem(error)}.") from error


def _problem(error: ValidationError) -> str:
    from sonarseg.densecrf.parameters import CrfParameters
    from sonarseg.files.setting_errors import wrong_setting

    wrong = wrong_setting(CrfParameters, error, typed=True)
    if error.errors()[0]["type"] == "extra_forbidden":
        return f"{wrong.field} is no dense CRF parameter: use {', '.join(CrfParameters.model_fields)}"
    return wrong.problem


def _parameter_file(path: Path) -> dict[str, Any]:
    from pydantic import ValidationError

    from sonarseg.densecrf.parameters import CrfParameters
    from sonarseg.files.setting_errors import strictly
    from sonarseg.files.settings import read_settings

    if not path.is_file():
        raise UserError(f"--params {path} is missing: name a file of dense CRF parameters.")
    try:
        values, _ = read_settings(path)
        strictly(CrfParameters, values)
    except UserError as error:
        raise UserError(f"--params {error}") from error
    except ValidationError as error:
        raise UserError(f"--params {path}: {_problem(error)}.") from error
    return values
