"""How long the labelling page takes to save, and how good masks are that are filled from strokes.

    python benchmarks/labelling.py SURVEY...

Saves go through the page's own requests, one per tile, for 600 and for 100,000 rows. Strokes are simulated
from the val masks of each survey: 1, 2, 3 and 5 per class, 3 pixels wide, together over 5 % of the class's
pixels, moved by up to 3 pixels, and 5 % of their pixels of another class of the tile.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from starlette.testclient import TestClient

from sonarseg.densecrf.published import published
from sonarseg.densecrf.scribbles import UNSET, fill_from_strokes
from sonarseg.metrics.confusion import confusion
from sonarseg.metrics.iou import miou, miou_multiclass
from sonarseg.survey.layout import Survey, classes_in_mask, open_survey
from sonarseg.survey.scaling import fit_scaling
from studies.labelling.app import make_app
from studies.labelling.guard import Keys
from studies.labelling.session import opened_session

SHARE, MOVED, WRONG = 0.05, 3, 0.05
PORT = 8000


def save_seconds(rows: int, saves: int = 600) -> list[float]:
    """Times of single saves in a survey of `rows` tiles."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "images").mkdir()
        (root / "classes.txt").write_text("mud\nsand\nrock\n")
        # Labels are made without opening a picture.
        for number in range(rows):
            (root / "images" / f"t{number:06}.png").touch()
        with opened_session(root) as session:
            keys = Keys(PORT, lambda address: None)
            page = TestClient(make_app(session, keys), base_url=f"http://127.0.0.1:{PORT}")
            page.get(keys.address)
            times = []
            for number in range(min(saves, rows)):
                started = time.perf_counter()
                content = {"changes": [[f"t{number:06}", "", "101"]], "generation": 0}
                assert page.post("/api/labels", json=content).status_code == 200
                times.append(time.perf_counter() - started)
            return times


def simulated_strokes(
    mask: NDArray[np.uint8], count: int, num_classes: int, generator: np.random.Generator
) -> NDArray[np.int16]:
    """`count` strokes per class of a mask that covers at least 1 %, int16 (H, W)."""
    strokes = np.full(mask.shape, UNSET, np.int16)
    ids = np.flatnonzero(classes_in_mask(mask, num_classes))
    for class_id in ids:
        places = np.argwhere(mask == class_id)
        length = max(4, round(len(places) * SHARE / count / 3))
        for _ in range(count):
            _walk(strokes, mask, places[generator.integers(len(places))], length, generator)
    drawn = np.argwhere(strokes != UNSET)
    for row, column in drawn[generator.random(len(drawn)) < WRONG]:
        strokes[row, column] = generator.choice(ids)
    return strokes


def _walk(
    strokes: NDArray[np.int16],
    mask: NDArray[np.uint8],
    start: NDArray[np.int64],
    length: int,
    generator: np.random.Generator,
) -> None:
    """Draw one winding stroke that turns at the border of its class, then shifted as a hand slips."""
    class_id, (row, column) = mask[tuple(start)], start.astype(float)
    shift = generator.integers(-MOVED, MOVED + 1, 2)
    angle = generator.uniform(0, 2 * np.pi)
    for _ in range(length):
        y, x = (np.array([row, column]) + shift).astype(int)
        strokes[max(0, y - 1) : max(0, y + 2), max(0, x - 1) : max(0, x + 2)] = class_id
        ahead = np.array([row + np.sin(angle), column + np.cos(angle)])
        inside = (ahead >= 0).all() and (ahead < mask.shape).all()
        if inside and mask[tuple(ahead.astype(int))] == class_id:
            row, column = ahead
            angle += generator.normal(0, 0.1)
        else:
            angle = generator.uniform(0, 2 * np.pi)


def filled_scores(survey: Survey, count: int) -> str:
    """Scores of the filled val tiles and the time per tile, as a row of the table."""
    scaling, generator = fit_scaling(survey), np.random.default_rng(0)
    confusions, times = [], []
    for tile in survey.splits["val"]:
        if not survey.has_mask(tile):
            continue
        mask = survey.read_mask(tile)
        strokes = simulated_strokes(mask, count, survey.num_classes, generator)
        image, valid = scaling.read(survey.image_path(tile)), survey.read_valid(tile)
        started = time.perf_counter()
        filled = fill_from_strokes(strokes, image, survey.num_classes, published("w-s3Tseg"), valid)
        times.append(1000 * (time.perf_counter() - started))
        confusions.append(confusion(mask, filled, survey.num_classes))
    every = np.stack(confusions)
    return (
        f"{survey.name}, {len(every)} val tiles, {count} strokes: miou {miou(every):.3f}, "
        f"miou_multiclass {miou_multiclass(every):.3f}, {statistics.median(times):.0f} ms per tile"
    )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("surveys", nargs="*", type=Path)
    surveys = [open_survey(root) for root in parser.parse_args().surveys]
    for rows in (600, 100_000):
        times = [1000 * seconds for seconds in save_seconds(rows)]
        print(f"save, {rows} rows: median {statistics.median(times):.1f} ms, slowest {max(times):.1f} ms")
    for survey in surveys:
        for count in (1, 2, 3, 5):
            print(filled_scores(survey, count))


if __name__ == "__main__":
    main()
