"""What the labelling page may ask for and change."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from sonarseg.survey.layout import open_survey
from sonarseg.survey.pictures import read_mask_file
from studies.labelling.session import opened_session
from tests.support.tiny_survey import SIZE

Label = Callable[..., int]


def test_the_page_and_its_parts_are_served(page: TestClient) -> None:
    assert "<title>" in page.get("/").text
    for name, kind in (("main.js", "text/javascript"), ("label.css", "text/css")):
        answer = page.get(f"/page/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
    assert page.get("/page/__init__.py").status_code == 404


def test_the_state_has_all_tiles_with_their_strips_and_labels(page: TestClient) -> None:
    state = page.get("/api/state").json()
    assert [row["name"] for row in state["classes"]] == ["mud", "rock"]
    tiles = dict(zip(state["tiles"], state["shown"], strict=True))
    assert tiles["train0"] == "10"
    assert tiles["train1"] == "11"
    assert dict(zip(state["tiles"], state["strips"], strict=True))["train0"] == "train-strip0"


def test_a_change_is_on_disk_and_other_pages_are_told(page: TestClient, root: Path, label: Label) -> None:
    assert label(("train0", "10", "01"), ("train1", "11", "")) == 200
    survey = open_survey(root)
    assert survey.labels["train0"].tolist() == [False, True]
    assert "train1" not in survey.splits["train"]
    assert page.get("/api/changes?since=0").json()["shown"] == {"train0": "01", "train1": ""}
    assert page.get("/api/changes?since=2").json()["shown"] == {}


def test_a_change_of_what_another_page_has_changed_is_refused_whole(
    page: TestClient, root: Path, label: Label
) -> None:
    assert label(("train0", "10", "01")) == 200
    before = (root / "labels.csv").read_bytes()
    rows = [["train1", "11", "10"], ["train0", "10", "00"]]
    answer = page.post("/api/labels", json={"changes": rows, "generation": 0})
    assert answer.status_code == 409
    assert answer.json()["current"] == {"train0": "01"}
    assert (root / "labels.csv").read_bytes() == before
    assert label(("train0", "10", "01")) == 200, "both pages want the same"


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"changes": 1}', b'{"changes": [["a"]]}', b"\xff", b"[" * 100_000],
)
def test_a_malformed_change_is_refused(page: TestClient, content: bytes) -> None:
    assert page.post("/api/labels", content=content).status_code == 400


@pytest.mark.parametrize("after", ["1", "111", "12", "x"])
def test_labels_of_other_classes_are_refused(page: TestClient, root: Path, after: str, label: Label) -> None:
    before = (root / "labels.csv").read_bytes()
    assert label(("train0", "10", after)) == 422
    assert (root / "labels.csv").read_bytes() == before


@pytest.mark.parametrize(
    "tile", ["../secret", "/etc/passwd", "..", "", "train0.png", "train0\0", "..%2Fsecret"]
)
def test_no_path_leaves_the_survey(page: TestClient, root: Path, tile: str) -> None:
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(root.parent / "secret.png")
    for address in ("/api/picture", "/api/thumbnail", "/api/mask"):
        answer = page.get(address, params={"tile": tile})
        assert answer.status_code == 422
        assert "passwd" not in answer.text
    mask = bytes(SIZE[0] * SIZE[1])
    query = {"tile": tile, "tag": "none", "generation": "0"}
    assert page.post("/api/mask", params=query, content=mask).status_code == 422
    assert page.get("/page/..%2F..%2Fapp.py").status_code == 404
    assert not (root.parent / "secret.png.partial").exists()


def test_names_with_markup_are_data(root: Path) -> None:
    name = "<img src=x onerror=alert(1)>"
    (root / "images" / "train0.png").rename(root / "images" / f"{name}.png")
    (root / "labels.csv").write_text(f"tile,mud,rock\n=cmd,1,0\n{name},0,1\n")
    with opened_session(root) as session:
        state = session.state()
    assert dict(zip(state["tiles"], state["shown"], strict=True))[name] == "01"


def test_pictures_and_thumbnails(page: TestClient) -> None:
    picture = page.get("/api/picture?tile=train0")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    assert page.get("/api/thumbnail?tile=train0").headers["content-type"] == "image/webp"


def test_a_mask_is_read_and_written(page: TestClient, root: Path) -> None:
    answer = page.get("/api/mask?tile=val1")
    assert (answer.headers["x-height"], answer.headers["x-width"]) == tuple(map(str, SIZE))
    ids = np.full(SIZE, 1, np.uint8)
    query = {"tile": "val1", "tag": answer.headers["x-tag"], "generation": "0"}
    written = page.post("/api/mask", params=query, content=ids.tobytes())
    assert written.status_code == 200
    np.testing.assert_array_equal(read_mask_file(root / "masks" / "val1.png"), ids)
    assert page.post("/api/mask", params=query, content=ids.tobytes()).status_code == 409
    query["tag"] = written.json()["tag"]
    assert page.post("/api/mask", params=query, content=ids.tobytes()).status_code == 200


@pytest.mark.parametrize("content", [b"", b"\0", bytes([2]) * (SIZE[0] * SIZE[1])])
def test_a_wrong_mask_is_refused(page: TestClient, root: Path, content: bytes) -> None:
    before = (root / "masks" / "val1.png").read_bytes()
    tag = page.get("/api/mask?tile=val1").headers["x-tag"]
    query = {"tile": "val1", "tag": tag, "generation": "0"}
    assert page.post("/api/mask", params=query, content=content).status_code == 422
    assert (root / "masks" / "val1.png").read_bytes() == before


def test_classes_change_and_other_pages_must_load_again(page: TestClient, root: Path, label: Label) -> None:
    content = {"what": "add", "name": " sand ", "generation": 0}
    assert page.post("/api/classes", json=content).json() == {"generation": 1}
    assert page.post("/api/classes", json=content).status_code == 409
    assert label(("train0", "10", "01"), generation=0) == 409
    assert label(("train0", "100", "101"), generation=1) == 200
    assert open_survey(root).classes == ("mud", "rock", "sand")
    refused = page.post("/api/classes", json={"what": "add", "name": "tile", "generation": 1})
    assert "cannot be called" in refused.json()["error"]


def test_a_tile_is_filled_from_strokes(page: TestClient, root: Path) -> None:
    strokes = np.full(SIZE, -1, "<i2")
    strokes[4:16, 3], strokes[4:16, 20] = 0, 1
    answer = page.post("/api/fill?tile=val1", content=strokes.tobytes())
    filled = np.frombuffer(answer.content, np.uint8).reshape(SIZE)
    assert (filled == read_mask_file(root / "masks" / "val1.png")).mean() > 0.8
    assert page.post("/api/fill?tile=val1", content=strokes.tobytes()[1:]).status_code == 400
    assert page.post("/api/fill?tile=..", content=strokes.tobytes()).status_code == 422


def test_a_mask_in_another_format_is_not_doubled(page: TestClient, root: Path) -> None:
    png = root / "masks" / "val1.png"
    Image.open(png).save(png.with_suffix(".tif"))
    png.unlink()
    tag = page.get("/api/mask?tile=val1").headers["x-tag"]
    query = {"tile": "val1", "tag": tag, "generation": "0"}
    answer = page.post("/api/mask", params=query, content=bytes(SIZE[0] * SIZE[1]))
    assert "save it as val1.png" in answer.json()["error"]
    assert not png.exists()


def test_after_a_failed_write_the_mask_is_what_it_was(
    page: TestClient, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in (root / "masks").iterdir()}
    tag = page.get("/api/mask?tile=val1").headers["x-tag"]

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    query = {"tile": "val1", "tag": tag, "generation": "0"}
    answer = page.post("/api/mask", params=query, content=bytes(SIZE[0] * SIZE[1]))
    assert answer.status_code == 507
    assert "No space left" in answer.json()["error"]
    assert before == {path: path.read_bytes() for path in (root / "masks").iterdir()}
