"""Foreign text made inert, before it is shown in a terminal, a page or a note."""

from __future__ import annotations

import unicodedata


def plain(text: object) -> str:
    """Make text one line without control, format or unassigned characters; they become U+FFFD.

    Terminal escapes and bidirectional overrides in a name would otherwise change what is read
    around them.
    """
    joined = " ".join(str(text).split())
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c)[0] == "C" else c for c in joined)


def plain_or_none(value: object) -> str | None:
    """Make text plain where there is any."""
    return None if value in (None, "") else plain(value)
