"""The labelling page of a small survey, asked without a browser."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from studies.labelling.app import make_app
from studies.labelling.guard import Keys
from studies.labelling.session import Session, opened_session
from tests.support.tiny_survey import write_survey

PORT = 4711
HOST = f"http://127.0.0.1:{PORT}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eleven tiles of mud and rock, with labels and masks."""
    return write_survey(tmp_path / "bay")


@pytest.fixture
def session(root: Path) -> Iterator[Session]:
    with opened_session(root) as opened:
        yield opened


@pytest.fixture
def keys() -> Keys:
    return Keys(PORT, lambda address: None)


@pytest.fixture
def stranger(session: Session, keys: Keys) -> TestClient:
    """A browser that never had the token."""
    return TestClient(make_app(session, keys), base_url=HOST)


@pytest.fixture
def page(session: Session, keys: Keys) -> TestClient:
    """A browser that has opened the page."""
    client = TestClient(make_app(session, keys), base_url=HOST)
    assert client.get(keys.address).status_code == 200
    return client


@pytest.fixture
def label(page: TestClient) -> Callable[..., int]:
    """Change labels by their tile, value before and after; the status of the answer."""

    def change(*rows: tuple[str, str, str], generation: int = 0) -> int:
        content = {"changes": rows, "generation": generation}
        return page.post("/api/labels", json=content).status_code

    return change
