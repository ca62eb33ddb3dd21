"""How a trial ends without a value."""

from __future__ import annotations


class TrialFailed(Exception):
    """The trial has no value; the message is the reason, one sentence for the person."""


class SettingRefused(TrialFailed):
    """The trial was enqueued with a setting that it cannot have; it is not tried again."""


class OutOfMemory(TrialFailed):
    """Memory ran out; the trial may be run again with smaller batches, as must all others then."""
