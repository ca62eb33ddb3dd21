"""Reads a report as a person would: sections, their text, their tables; by the standard library alone."""

from __future__ import annotations

import json
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

VOID = {"meta", "link", "img", "br", "input", "line", "path", "circle", "rect"}


class Page(HTMLParser):
    """Text and table rows by section id, ids, tags with their attributes, scripts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text: dict[str, str] = defaultdict(str)
        self.rows: dict[str, list[list[str]]] = defaultdict(list)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self._section = ""
        self._cell = False
        self.feed(source)
        assert not self._open, f"not closed: {self._open}"

    @classmethod
    def of(cls, path: Path) -> Page:
        return cls(path.read_text(encoding="utf-8"))

    def figures(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found

    def table(self, section: str, first: str) -> list[list[str]]:
        """Rows of the table whose head begins with `first`."""
        rows = self.rows[section]
        start = next(i for i, row in enumerate(rows) if row[0] == first)
        width = len(rows[start])
        end = start + 1
        while (
            end < len(rows)
            and len(rows[end]) == width
            and rows[end][0] not in ("Trial", "Setting", "Parameter")
        ):
            end += 1
        return rows[start:end]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self._section = dict(attrs)["id"] or ""
        if tag == "tr":
            self.rows[self._section].append([])
        if tag in ("td", "th"):
            self.rows[self._section][-1].append("")
            self._cell = True
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, tag
        if tag in ("td", "th"):
            self._cell = False
            self.rows[self._section][-1][-1] = " ".join(self.rows[self._section][-1][-1].split())
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
            return
        if self._open and self._open[-1] == "style":
            return
        self.text[self._section] += data
        if self._cell:
            self.rows[self._section][-1][-1] += data
