"""Who may talk to the labelling page."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from studies.labelling.app import make_app
from studies.labelling.guard import MOST_BYTES, Keys
from studies.labelling.session import Session
from tests.studies.labelling.conftest import HOST, PORT

READS = ("/", "/page/main.js", "/api/state", "/api/changes?since=0", "/api/picture?tile=train0")
CHANGE = {"changes": [["train0", "10", "01"]], "generation": 0}


@pytest.mark.parametrize(
    "address", [*READS, "/api/mask?tile=train0", "/nowhere", "/?token=wrong", "/?token="]
)
def test_without_the_token_nothing_is_read(stranger: TestClient, address: str) -> None:
    answer = stranger.get(address)
    assert answer.status_code == 401
    assert "train0" not in answer.text
    assert "set-cookie" not in answer.headers


def test_without_the_token_nothing_is_written(stranger: TestClient, root: Path) -> None:
    before = (root / "labels.csv").read_bytes()
    for client in (stranger, stranger):
        assert client.post("/api/labels", json=CHANGE).status_code == 401
        assert client.post("/api/mask?tile=train0&tag=none", content=b"x").status_code == 401
        client.cookies.set(f"sonarseg-label-{PORT}", "guessed")
    assert (root / "labels.csv").read_bytes() == before


def test_a_token_opens_the_page_once(session: Session) -> None:
    printed: list[str] = []
    keys = Keys(PORT, printed.append)
    first, second = (TestClient(make_app(session, keys), base_url=HOST) for _ in range(2))
    address = keys.address
    assert first.get(address).status_code == 200
    assert first.get("/api/state").status_code == 200
    assert second.get(address).status_code == 401
    assert printed == [keys.address]
    assert second.get(keys.address).status_code == 200


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(stranger: TestClient, keys: Keys) -> None:
    answer = stranger.get(keys.address)
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=Strict" in answer.headers["set-cookie"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:1", ""])
def test_another_host_name_is_refused(page: TestClient, host: str) -> None:
    assert page.get("/api/state", headers={"host": host}).status_code == 403


def test_localhost_is_this_machine_too(stranger: TestClient, keys: Keys) -> None:
    path = keys.address.removeprefix(HOST)
    assert stranger.get(path, headers={"host": f"localhost:{PORT}"}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", f"https://127.0.0.1:{PORT}", ""]
)
def test_another_origin_is_refused(page: TestClient, root: Path, origin: str) -> None:
    before = (root / "labels.csv").read_bytes()
    answer = page.post("/api/labels", json=CHANGE, headers={"origin": origin})
    assert answer.status_code == 403
    assert (root / "labels.csv").read_bytes() == before
    assert page.post("/api/labels", json=CHANGE, headers={"origin": HOST}).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pictures_do_not_appear_in_other_pages(page: TestClient, site: str) -> None:
    headers = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
    assert page.get("/api/picture?tile=train0", headers=headers).status_code == 403
    assert page.get("/", headers={**headers, "sec-fetch-mode": "navigate"}).status_code == 200


def test_a_body_of_more_than_10_mb_is_refused(page: TestClient) -> None:
    body = b"0" * (MOST_BYTES + 1)
    assert page.post("/api/labels", content=body).status_code == 413
    pieces = (body[start : start + 2**20] for start in range(0, len(body), 2**20))
    assert page.post("/api/labels", content=pieces).status_code == 413
    assert page.post("/api/labels", content=body[:-1]).status_code == 400
