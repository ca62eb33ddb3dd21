"""What every test starts from."""

import signal
from collections.abc import Iterator

import pytest

# Before any test imports torch: its threads must be told not to spin.
import sonarseg  # noqa: F401


@pytest.fixture(scope="session", autouse=True)
def _heeding_signals() -> Iterator[None]:
    """Heed SIGINT and SIGHUP, here and in the programs that tests start, though a shell made them deaf."""
    heeding = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in heeding.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
