"""Names that someone wrote elsewhere: which picture of a survey they mean, and which names are alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from sonarseg.survey.tile_names import tile_name

# Suffixes of pictures that a survey may have been converted from, and none at all
_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")

# Characters of foreign text in a sentence
_MOST_SHOWN = 80


class PicturesNamed:
    """Finds tiles by names with or without folder and suffix, in any case, with lost leading zeros.

    A name that may mean several tiles, other than by its exact spelling, means none.

    Parameters
    ----------
    tiles : iterable of str
    """

    def __init__(self, tiles: Iterable[str]) -> None:
        self._tiles = set(tiles)
        self._by_case = _unique((tile.casefold(), tile) for tile in self._tiles)
        self._by_number = _unique((str(int(tile)), tile) for tile in self._tiles if _is_number(tile))

    def __contains__(self, name: str) -> bool:
        """Whether a name means a tile."""
        return self.find(name) is not None

    def find(self, name: str) -> str | None:
        """Tile that a name means, or None."""
        bare = re.split(r"[/\\]", unicodedata.normalize("NFC", name.strip()))[-1]
        for spelling in (tile_name(bare), bare, _SUFFIX.sub("", bare)):
            if spelling in self._tiles:
                return spelling
            if (found := self._by_case.get(spelling.casefold())) is not None:
                return found
            # A spreadsheet makes 12 of 0012.
            if _is_number(spelling) and (found := self._by_number.get(str(int(spelling)))) is not None:
                return found
        return None


class ClassesNamed:
    """Finds classes by their names in any case, with other spaces and punctuation.

    A name that may mean several classes, other than by its exact spelling, means none: "rock+" and "rock-"
    differ by their punctuation alone.

    Parameters
    ----------
    classes : sequence of str
        In the order of their ids.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._exact = {name: name for name in classes}
        self._by_case = _unique((name.casefold(), name) for name in classes)
        self._by_plain = _unique((plain(name), name) for name in classes if plain(name))

    def find(self, name: str) -> str | None:
        """Class that a name means, or None."""
        line = " ".join(name.split())
        return self._exact.get(line) or self._by_case.get(line.casefold()) or self._by_plain.get(plain(line))


def plain(title: str) -> str:
    """Text without case, spaces and punctuation: "File name" and file_name are one title."""
    return re.sub(r"[\W_]+", "", title.casefold())


def quoted(text: str) -> str:
    """Foreign text as a sentence quotes it: on one line, and not longer than that."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_SHOWN else f"{line[:_MOST_SHOWN]}..."


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Key to name, without the keys of several."""
    found: dict[str, str] = {}
    several = set()
    for key, tile in pairs:
        if found.setdefault(key, tile) != tile:
            several.add(key)
    return {key: tile for key, tile in found.items() if key not in several}
