"""The exceptions whose messages are meant for the person at the keyboard."""


class UserError(Exception):
    """Something the person can put right.

    The message is one sentence: which file, which value, what was expected, what to do.
    The command line prints it without a traceback and exits with code 2.
    """


class DeviceLost(UserError):
    """The device that something was computed on does not answer any more; another may go on with it."""
