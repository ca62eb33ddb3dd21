"""Which steps are done, and what becomes of their rows."""

from pathlib import Path

import pytest
from gpu.steps import STEPS, chosen
from gpu.stored_rows import merged, read_lines


def test_a_step_that_takes_minutes_is_done_only_if_it_is_named() -> None:
    assert "whole_run" not in [step.name for step in chosen("")]
    assert [step.name for step in chosen("whole_run, crf")] == ["crf", "whole_run"]


def test_a_name_of_no_step_is_an_error() -> None:
    with pytest.raises(ValueError, match="no step 'train': choose among environment, crf"):
        chosen("crf,train")


def test_every_step_has_a_module_with_parts() -> None:
    folder = Path(__file__).parents[3] / "benchmarks" / "gpu"
    for step in STEPS:
        assert "\nPARTS = (" in (folder / f"{step.name}.py").read_text()


def test_a_row_takes_the_place_of_the_same_case_on_the_same_card() -> None:
    def row(case: str, ours: int) -> dict[str, object]:
        return {"case": case, "ours": ours}

    stored = [
        row("steps, batch 16; H100, aaa", 1),
        row("steps, batch 16; H200, aaa", 2),
        row("crf; H200, aaa", 3),
    ]
    found = merged(stored, [row("steps, batch 16; H200, bbb", 4), row("maps; H200, bbb", 5)])
    assert [(each["case"], each["ours"]) for each in found] == [
        ("steps, batch 16; H100, aaa", 1),
        ("steps, batch 16; H200, bbb", 4),
        ("crf; H200, aaa", 3),
        ("maps; H200, bbb", 5),
    ]


def test_a_half_written_row_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "crf.jsonl"
    path.write_text('{"case": "a", "ours": 1}\n{"case": "b", "ou')
    assert [row["case"] for row in read_lines(path)] == ["a"]
    assert read_lines(tmp_path / "none.jsonl") == []
