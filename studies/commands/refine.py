"""Command: refine class scores on disk by the dense CRF, without a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sonarseg.densecrf.parameters import CrfParameters


def refine(
    scores: Annotated[Path, typer.Argument(metavar="SCORES", help="Folder of NAME.npy, (K, H, W) in 0..1.")],
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="Folder of NAME.png or NAME.tif.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for NAME.png, class ids.")],
    setting: Annotated[
        str, typer.Option(help="A published setting: w-s3tseg, irn, psa, deeplab.")
    ] = "w-s3tseg",
    params: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE|FILE", help="Parameters of their own: sigma_alpha=30, or a TOML file."
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Classes of each tile: tile, then 0/1 a class.")
    ] = None,
    background: Annotated[
        int | None, typer.Option(metavar="ID", min=0, help="Class that gets the constant background_score.")
    ] = None,
    engine: Annotated[str, typer.Option(help="auto, numba, torch or pydensecrf.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    jobs: Annotated[int, typer.Option(min=0, help="Threads; 0 is one a processor core.")] = 0,
) -> None:
    """Refine class scores by the dense CRF; tiles that are in OUT already are left alone."""
    import time

    from joblib import cpu_count

    from sonarseg.densecrf.engine import pick_engine
    from sonarseg.densecrf.refine_files import find_score_files, read_shown, refine_files
    from sonarseg.errors import UserError
    from sonarseg.survey.scaling import scaling_of
    from studies.commands.console import ConsoleProgress, console

    files = find_score_files(scores, images)
    if background is not None and background >= files.num_classes:
        raise UserError(
            f"--background {background} is no class of {scores}: ids go from 0 to {files.num_classes - 1}."
        )
    shown = None if labels is None else read_shown(labels, list(files.scores), files.num_classes)
    scaling = scaling_of(list(files.pictures.values()))
    parameters = crf_parameters(setting, params or [], scaling.channels)
    chosen = pick_engine(_engine_name(engine), device)
    started = time.monotonic()
    with ConsoleProgress() as progress:
        written = refine_files(
            files,
            output,
            parameters,
            scaling,
            engine=chosen,
            shown=shown,
            background_id=background,
            jobs=jobs or int(cpu_count()),
            progress=progress,
        )
    seconds = time.monotonic() - started
    console.print(
        f"{written} tiles refined by {chosen} in {seconds:.1f} s, {len(files.scores) - written} were there: "
        f"{output}",
        markup=False,
    )


def _engine_name(text: str) -> Any:
    from typing import get_args

    from sonarseg.densecrf.engine import EngineName
    from sonarseg.errors import UserError

    if text not in get_args(EngineName):
        raise UserError(f'--engine "{text}" is none: use {", ".join(get_args(EngineName))}.')
    return text


def crf_parameters(setting: str, params: list[str], channels: int) -> CrfParameters:
    """Put a published setting and the parameters of TOML files and `NAME=VALUE` together, in this order.

    Raises
    ------
    UserError
        Where a setting, a file, a name or a value is wrong.
    """
    import tomllib

    from pydantic import ValidationError

    from sonarseg.densecrf.parameters import CrfParameters
    from sonarseg.densecrf.published import PUBLISHED, published
    from sonarseg.errors import UserError

    names = {name.lower().replace(" ", "-"): name for name in PUBLISHED}
    if setting.lower() not in names:
        raise UserError(f'--setting "{setting}" is none: use {", ".join(names)}.')
    values: dict[str, Any] = published(names[setting.lower()], 3 if channels == 3 else 1).model_dump()
    for text in params:
        if "=" in text:
            name, _, value = text.partition("=")
            values[name.strip()] = value.strip()
            continue
        try:
            values |= tomllib.loads(Path(text).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UserError(
                f"--params {text} is neither NAME=VALUE nor a TOML file ({error}): see --help."
            ) from error
    try:
        return CrfParameters.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        known = ", ".join(CrfParameters.model_fields)
        if first["type"] == "extra_forbidden":
            raise UserError(f"--params: {field} is no dense CRF parameter: use {known}.") from error
        problem = first["msg"][0].lower() + first["msg"][1:]
        raise UserError(f"--params: {field} = {first['input']} is wrong: {problem}.") from error
