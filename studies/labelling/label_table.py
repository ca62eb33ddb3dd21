"""The image-level labels of a survey while they are being made: labels.csv is the truth, written whole."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sonarseg.errors import UserError
from sonarseg.files.csv_cells import END_OF_LINE, inert
from sonarseg.files.whole import write_atomically
from sonarseg.survey.lists import Labels, find_pictures, read_classes, read_label_table
from sonarseg.survey.tile_names import listed_name, unlistable

# Shown classes of a tile: a "0" or "1" per class, or nothing if the tile is not labelled yet
Shown = str


@dataclass(frozen=True)
class LabelChange:
    """What a person wants a tile's labels to become.

    Attributes
    ----------
    tile : str
    before, after : str
        One "0" or "1" per class, or "" for a tile that is not labelled. `before` is what the person saw.
    """

    tile: str
    before: Shown
    after: Shown


class LabelConflictError(Exception):
    """Tiles whose labels are others by now than the person saw.

    Attributes
    ----------
    current : dict
        Tile to its labels.
    """

    def __init__(self, current: dict[str, Shown]) -> None:
        super().__init__(", ".join(current))
        self.current = current


class LabelTable:
    """Labels in memory and on disk; every method may be called from any thread.

    Attributes
    ----------
    classes : tuple of str
        Class names in the order of their ids.
    unlabelled : str or None
        The class without a column, of which no label speaks: the background.
    images : dict
        Tile to picture file.
    generation : int
        Counts changes of the classes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = threading.RLock()
        self.generation = 0
        problems: list[str] = []
        self.images = find_pictures(root / "images", problems)
        problems += unlistable(self.images)
        if problems:
            raise UserError(problems[0])
        if not self.images:
            raise UserError(f"{root / 'images'} holds no picture: put the tiles there.")
        self._changed: list[str] = []
        self.load()

    @property
    def path(self) -> Path:
        """The file."""
        return self.root / "labels.csv"

    def load(self) -> None:
        """Read classes and labels from the disk.

        Raises
        ------
        UserError
            If classes.txt or labels.csv has a fault.
        """
        self.classes = _classes(self.root)
        read = self._read()
        # Rows of tiles without a picture stay: they are not this page's to remove.
        self._order = [*read.lines, *(tile for tile in self.images if tile not in read.lines)]
        self._place = {tile: number for number, tile in enumerate(self._order)}
        self.unlabelled = read.unlabelled[0] if len(read.unlabelled) == 1 and len(self.classes) > 1 else None
        self._shown = {tile: _text(read, tile) for tile in self._order}
        self._lines = [self._line(tile) for tile in self._order]
        self._seen = self._stamp()

    def shown(self) -> Mapping[str, Shown]:
        """Labels of every tile that has a picture."""
        with self.lock:
            self._catch_up()
            return {tile: self._shown[tile] for tile in self.images}

    def changes(self, since: int) -> tuple[int, dict[str, Shown]]:
        """Count of changes so far, and the labels of tiles that changed after the first `since` of them."""
        with self.lock:
            self._catch_up()
            tiles = dict.fromkeys(self._changed[max(0, since) :])
            return len(self._changed), {tile: self._shown[tile] for tile in tiles if tile in self.images}

    def apply(self, changes: Sequence[LabelChange]) -> int:
        """Write changes, all or none; the count of changes after them.

        Raises
        ------
        LabelConflictError
            If the labels of a tile are neither what the person saw nor what they shall become.
        UserError
            If a tile is unknown, labels are malformed, or labels.csv was damaged from outside.
        """
        with self.lock:
            self._catch_up()
            for change in changes:
                self._check(change)
            current = {change.tile: self._shown[change.tile] for change in changes}
            conflicts = {
                c.tile: current[c.tile] for c in changes if current[c.tile] not in (c.before, c.after)
            }
            if conflicts:
                raise LabelConflictError(conflicts)
            changed = [change for change in changes if current[change.tile] != change.after]
            if changed:
                self._write(changed)
            return len(self._changed)

    def text(self, classes: Sequence[str], shown: Mapping[str, Shown], without: str | None) -> str:
        """The table as it would be with other classes."""
        header = _row(["tile", *(name for name in classes if name != without)])
        hidden = None if without is None else list(classes).index(without)
        return header + "".join(_cells_line(tile, shown[tile], len(classes), hidden) for tile in self._order)

    def all_shown(self) -> dict[str, Shown]:
        """Labels of every row, also of tiles without a picture."""
        return dict(self._shown)

    def _write(self, changes: Sequence[LabelChange]) -> None:
        lines = self._lines.copy()
        for change in changes:
            lines[self._place[change.tile]] = self._line(change.tile, change.after)
        header = _row(["tile", *(name for name in self.classes if name != self.unlabelled)])
        write_atomically(self.path, header + "".join(lines))
        self._seen = self._stamp()
        self._lines = lines
        for change in changes:
            self._shown[change.tile] = change.after
            self._changed.append(change.tile)

    def _check(self, change: LabelChange) -> None:
        if change.tile not in self.images:
            raise UserError("This tile is not one of the survey: load the page again.")
        text = change.after
        if text and (len(text) != len(self.classes) or set(text) - {"0", "1"}):
            raise UserError("The classes have changed: load the page again.")
        hidden = self._hidden
        if text and hidden is not None and text[hidden] == "1":
            raise UserError(f'"{self.unlabelled}" is the background: no label speaks of it.')

    def _catch_up(self) -> None:
        """Take in what another program has written into labels.csv since."""
        if self._stamp() == self._seen:
            return
        if _classes(self.root) != self.classes:
            raise UserError(
                f"{self.root / 'classes.txt'} was changed by another program: stop `sonarseg label` and "
                "start it again."
            )
        before = self._shown
        self.load()
        self._changed += [tile for tile in self._shown if before.get(tile, "") != self._shown[tile]]

    def _read(self) -> Labels:
        if not self.path.is_file() or not self.classes:
            return Labels()
        problems: list[str] = []
        read = read_label_table(self.path, self.classes, None, problems)
        if problems:
            raise UserError(problems[0])
        return read

    @property
    def _hidden(self) -> int | None:
        return None if self.unlabelled is None else self.classes.index(self.unlabelled)

    def _line(self, tile: str, shown: Shown | None = None) -> str:
        text = self._shown[tile] if shown is None else shown
        return _cells_line(tile, text, len(self.classes), self._hidden)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def _classes(root: Path) -> tuple[str, ...]:
    path = root / "classes.txt"
    if not path.exists() and not (root / "labels.csv").exists():
        return ()
    problems: list[str] = []
    classes = read_classes(root, problems)
    if problems:
        raise UserError(problems[0])
    return classes


def _text(read: Labels, tile: str) -> Shown:
    row = read.shown.get(tile)
    return "" if row is None else "".join("1" if value else "0" for value in row)


def _cells_line(tile: str, shown: Shown, count: int, hidden: int | None) -> str:
    cells = [*(shown or [""] * count)]
    if hidden is not None:
        del cells[hidden]
    return f"{_cell(listed_name(tile))},{','.join(cells)}{END_OF_LINE}"


def _cell(text: str) -> str:
    return _row([text]).removesuffix(END_OF_LINE)


def _row(cells: Sequence[str]) -> str:
    with io.StringIO(newline="") as file:
        csv.writer(file, lineterminator=END_OF_LINE).writerow([inert(cell) for cell in cells])
        return file.getvalue()
