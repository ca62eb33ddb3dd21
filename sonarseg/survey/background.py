"""Find the class that presence alone cannot teach."""

from __future__ import annotations

from sonarseg.survey.layout import Survey

# A class shown by this share of the train tiles leaves too few tiles without it to learn from.
NEARLY_EVERY = 0.95


def propose_background(survey: Survey) -> str | None:
    """Propose a class as background: the most frequent one, where at least 95 % of train tiles show it.

    A classifier learns nothing of where a class lies from a label that hardly ever changes; as the
    background it is what the other classes leave over.

    Returns
    -------
    str or None
        The survey's own background where it has one; None where no class is that frequent.
    """
    if survey.background is not None:
        return survey.background
    rows = [survey.labels[tile] for tile in survey.splits["train"] if tile in survey.labels]
    if not rows or survey.num_classes < 2:
        return None
    counts = [sum(bool(row[index]) for row in rows) for index in range(survey.num_classes)]
    most = max(counts)
    return survey.classes[counts.index(most)] if most >= NEARLY_EVERY * len(rows) else None
