"""The option --groups of `sonarseg init`."""

from enum import StrEnum


class StripsChoice(StrEnum):
    """Where strips come from if there is no groups.csv."""

    FROM_NAMES = "from-names"
    NONE = "none"
