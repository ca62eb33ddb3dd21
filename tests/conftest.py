"""What every test starts from."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _heeding_ctrl_c() -> Iterator[None]:
    """Heed SIGINT, here and in the programs that tests start, though a shell made them deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
