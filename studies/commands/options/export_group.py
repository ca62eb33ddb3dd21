"""The group `sonarseg export`: without the name of what is exported, it is the results of a workspace."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

RESULTS = "results"


class ExportGroup(TyperGroup):
    """`sonarseg export WORKSPACE` is `sonarseg export results WORKSPACE`, with the same options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `results` before what is no name of a command."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = [RESULTS, *args]
        return super().parse_args(ctx, args)
