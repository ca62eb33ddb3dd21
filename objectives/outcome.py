"""How a trial ends without a value."""

from __future__ import annotations


class TrialFailed(Exception):
    """The trial has no value; the message is the reason, one sentence for the person."""
