"""The group `sonarseg tune`: a workspace without the name of a study means all studies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.core import TyperGroup

BOTH = "all"


class TuneGroup(TyperGroup):
    """`sonarseg tune WORKSPACE` is `sonarseg tune all WORKSPACE`, with the same options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `all` before what can only be its argument or option."""
        if args and args[0] not in self.commands and self._is_of_both(args[0]):
            args = [BOTH, *args]
        return super().parse_args(ctx, args)

    def _is_of_both(self, first: str) -> bool:
        """Whether the first word is an option, or looks like a folder; else it is a misspelt study."""
        if first.startswith("-"):
            return first not in ("--help", "--")
        from studies.commands.options.nearby import is_likely_folder

        return is_likely_folder(Path(first))
