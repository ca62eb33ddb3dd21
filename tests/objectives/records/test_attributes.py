"""Every user attribute is known by one constant, and is what the tables say."""

import ast
import json
import sqlite3
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from objectives.records import attributes
from objectives.records.attributes import STUDY, TRIAL, Attribute

ROOT = Path(attributes.__file__).parents[2]
RECORDED = ROOT / "tests" / "fixtures" / "half_finished_workspace.tar.xz"
SOURCES = [
    path
    for room in ("sonarseg", "objectives", "studies", "reports")
    for path in sorted((ROOT / room).rglob("*.py"))
    if path != Path(attributes.__file__)
]
# What the sources call the user attributes of a study or of a trial
ATTRIBUTES = {"user_attrs", "attrs", "attributes"}
WRITERS = {"set_user_attr": 0, "set_trial_user_attr": 1}
TABLES = {"study": STUDY, "trial": TRIAL}


def constants() -> dict[str, str]:
    """The name of the constant of each attribute."""
    found = {}
    for node in ast.parse(Path(attributes.__file__).read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(value))) if (
                name[0] != "_"
            ):
                found[value] = name
    return found


def literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every string that is used as the name of a user attribute."""
    for node in ast.walk(tree):
        for each in names_in(node):
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                yield each.lineno, each.value


def names_in(node: ast.AST) -> list[ast.expr | None]:
    """What a node uses as names of user attributes."""
    match node:
        case ast.Subscript(value=read, slice=name) if is_attributes(read):
            return [name]
        case ast.Compare(left=name, comparators=[read]) if is_attributes(read):
            return [name]
        case ast.Call(func=ast.Attribute(attr="get" | "pop", value=read), args=[name, *_]) if is_attributes(
            read
        ):
            return [name]
        case ast.Call(func=ast.Attribute(attr=writer), args=arguments) if writer in WRITERS:
            return arguments[WRITERS[writer] :][:1]
        case ast.keyword(arg="user_attrs", value=ast.Dict(keys=names)):
            return list(names)
        case ast.Module(body=body):
            return [name for statement in body for name in names_of_tuple(statement)]
    return []


def names_of_tuple(statement: ast.stmt) -> list[ast.expr]:
    """The elements of a module's tuple of attributes."""
    match statement:
        case ast.Assign(value=ast.Tuple(elts=elements)):
            texts = [each.value for each in elements if isinstance(each, ast.Constant)]
            listed = len(texts) > 1 and set(texts) <= STUDY.keys() | TRIAL.keys()
            return list(elements) if listed else []
    return []


def is_attributes(node: ast.expr) -> bool:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name in ATTRIBUTES
    return False


@pytest.mark.parametrize(
    "source",
    [
        'trial.user_attrs["seed"]',
        'study.attrs.get("seed", 0)',
        '"seed" in study.user_attrs',
        'study.set_user_attr("seed", 1)',
        'storage.set_trial_user_attr(3, "seed", 1)',
        'study.enqueue_trial({}, user_attrs={"seed": 1})',
        '_KEPT = ("seed", "run")',
    ],
)
def test_a_literal_is_found_wherever_it_names_an_attribute(source: str) -> None:
    assert "seed" in [text for _, text in literals(ast.parse(source))]


def test_no_attribute_is_named_by_a_literal() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in SOURCES
        for line, text in literals(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found


def test_every_constant_is_in_a_table_and_the_other_way_round() -> None:
    assert constants().keys() == STUDY.keys() | TRIAL.keys()


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_module_that_writes_an_attribute_uses_its_constant(table: Mapping[str, Attribute]) -> None:
    names = constants()
    for text, attribute in table.items():
        source = (ROOT / attribute.writer.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
        assert names[text] in written(ast.parse(source)), f"{attribute.writer} does not write {text}"


def written(tree: ast.Module) -> set[str]:
    """Names of the constants where attributes are written: in a setter's call, as a key."""
    found: list[ast.expr | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "").startswith("set_"):
            found += node.args
        elif isinstance(node, ast.Dict):
            found += node.keys
        elif isinstance(node, ast.Tuple):
            found += node.elts
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            found.append(node.slice)
    return {node.attr for node in found if isinstance(node, ast.Attribute)}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    with tarfile.open(RECORDED) as archive:
        archive.extractall(folder, filter="data")
    return folder / "survey-study" / "study.db"


@pytest.mark.parametrize(("what", "table"), TABLES.items())
def test_a_recorded_database_holds_what_the_table_says(
    recorded: Path, what: str, table: Mapping[str, Attribute]
) -> None:
    with closing(sqlite3.connect(recorded)) as connection:
        stored = connection.execute(f"SELECT key, value_json FROM {what}_user_attributes").fetchall()
    assert len(stored) > 10
    for name, text in stored:
        assert isinstance(json.loads(text), table[name].kinds), name
