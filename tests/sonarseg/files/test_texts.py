from pathlib import Path

import pytest

from sonarseg.errors import UserError
from sonarseg.files.settings import read_settings
from sonarseg.files.texts import read_text

MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a\nb", "a\nb"),
        (MARK + b"a\r\nb\r", "a\nb\n"),
        (MARK + b"a\n" + MARK + b"b\n", "a\nb\n"),
        (MARK, ""),
        ("Lovász".encode(), "Lovász"),
    ],
    ids=["plain", "mark and CRLF", "files put together", "mark alone", "accents"],
)
def test_utf8_is_read_with_and_without_marks(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert read_text(tmp_path / "a.txt") == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_wider_encodings_are_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("name = 1\n".encode(encoding))
    with pytest.raises(UserError, match=r"a\.txt is not UTF-8 text but UTF-16, .*: save it as UTF-8\."):
        read_text(tmp_path / "a.txt")


def test_the_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("good\nLovász\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"a\.txt is not UTF-8 text \(line 2 is not\): save it as UTF-8\."):
        read_text(tmp_path / "a.txt")


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_text(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "missing")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", '{"seed": 1, "seed": 2}', '"seed" is named twice: keep one'),
        ("a.toml", "seed = 1\nseed = 2\n", "not valid TOML"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", "[1]", "holds no names with values"),
        ("a.toml", '[a]\nb = ["c\\u0000"]', "a.b holds the control character \\x00: take it out"),
        ("a.json", '{"a": "b\\nc"}', "a holds the control character \\n: take it out"),
    ],
)
def test_settings_that_cannot_be_read(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as caught:
        read_settings(tmp_path / name)
    assert says in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_settings_with_a_mark(tmp_path: Path) -> None:
    for name, text in (("a.json", b'{"seed": 1}'), ("a.toml", b"seed = 1\n")):
        (tmp_path / name).write_bytes(MARK + text)
        assert read_settings(tmp_path / name)[0] == {"seed": 1}
