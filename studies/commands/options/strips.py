"""The option --groups of `sonarseg init`."""

from typing import Literal

# Where strips come from if there is no groups.csv
StripsChoice = Literal["from-names", "none"]
