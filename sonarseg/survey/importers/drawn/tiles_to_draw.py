"""Tiles of a survey for people who draw masks in another program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from sonarseg.class_colours import NO_DATA_RGB, class_colour
from sonarseg.errors import UserError
from sonarseg.files.whole import whole_folder, write_atomically
from sonarseg.progress import Progress, silent
from sonarseg.survey.layout import Survey
from sonarseg.survey.pictures import write_png
from sonarseg.survey.scaling import fit_scaling, scaling_of

NO_DATA = "no data"


def export_tiles(
    survey: Survey, folder: Path, tiles: Sequence[str] | None = None, *, progress: Progress = silent
) -> int:
    """Write 8-bit PNGs of tiles, scaled as for training, and what drawing programs read beside them.

    `images/NAME.png`; `labelme-labels.txt` for labelme's --labels; `cvat-labels.json` for the raw labels of a
    CVAT task; `label-studio-config.xml` and `label-studio-tasks.json` for Label Studio, whose local files
    are served from the folder that holds `folder`. No mask is opened.

    Parameters
    ----------
    folder : Path
        Folder to make; it must be empty or new.
    tiles : sequence of str, optional
        Which tiles; all by default.

    Returns
    -------
    int
        Number of tiles.

    Raises
    ------
    UserError
        If the folder holds something, or there is no tile, or one that cannot be read.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not an empty folder: name a new one.")
    chosen = list(survey.images if tiles is None else tiles)
    if not chosen:
        raise UserError(f"{survey.root}: no tile to export: name a split that has tiles.")
    # Without train tiles there is no training whose scaling this has to be.
    trained = bool(survey.splits["train"])
    scaling = fit_scaling(survey) if trained else scaling_of([survey.image_path(tile) for tile in chosen])
    with whole_folder(folder) as partial:
        (partial / "images").mkdir()
        for number, tile in enumerate(chosen, start=1):
            write_png(partial / "images" / f"{tile}.png", scaling.read(survey.image_path(tile)))
            progress("writing tiles", number, len(chosen))
        for name, text in _lists(survey.classes, chosen, folder.resolve().name).items():
            write_atomically(partial / name, text)
    return len(chosen)


def _lists(classes: Sequence[str], tiles: Sequence[str], folder: str) -> dict[str, str]:
    """Text of each list that a drawing program reads, by file name."""
    labels = [(name, class_colour(index)) for index, name in enumerate(classes)]
    labels.append((NO_DATA, "#{:02x}{:02x}{:02x}".format(*NO_DATA_RGB)))
    in_config = "".join(
        f"    <Label value={quoteattr(name)} background={quoteattr(colour)}/>\n" for name, colour in labels
    )
    tools = "".join(
        f'  <{tool}Labels name="{tool.lower()}" toName="image">\n{in_config}  </{tool}Labels>\n'
        for tool in ("Polygon", "Rectangle", "Brush")
    )
    tasks = [
        {"data": {"image": f"/data/local-files/?d={quote(f'{folder}/images/{tile}.png')}"}} for tile in tiles
    ]
    in_cvat = [{"name": name, "color": colour, "attributes": []} for name, colour in labels]
    return {
        "labelme-labels.txt": "".join(f"{name}\n" for name, _ in labels),
        "cvat-labels.json": json.dumps(in_cvat, indent=1, ensure_ascii=False) + "\n",
        "label-studio-config.xml": f'<View>\n  <Image name="image" value="$image"/>\n{tools}</View>\n',
        "label-studio-tasks.json": json.dumps(tasks, indent=1) + "\n",
    }
