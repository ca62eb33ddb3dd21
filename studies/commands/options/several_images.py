"""A command whose option --images takes several paths at once, as a shell writes them for `*.png`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studies.commands.terminal.phases import SpokenCommand

_OPTIONS = ("--images", "--tiles")


class SeveralImages(SpokenCommand):
    """`--images A B C` is `--images A --images B --images C`; a workspace among them ends the list."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each further path."""
        return super().parse_args(ctx, repeat_option(args))


def repeat_option(args: list[str]) -> list[str]:
    """Put the option before every path that follows its first one."""
    from studies.commands.options.nearby import is_workspace

    repeated: list[str] = []
    option, values = "", 0
    for arg in args:
        if arg.startswith("-"):
            option, values = (arg if arg in _OPTIONS else ""), 0
        elif option:
            values += 1
            if values > 1 and is_workspace(Path(arg)):
                option = ""
            elif values > 1:
                repeated.append(option)
        repeated.append(arg)
    return repeated
