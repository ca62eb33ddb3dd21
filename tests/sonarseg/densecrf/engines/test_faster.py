"""The faster engine is found by a measurement, which is recorded."""

import pytest

from sonarseg.densecrf.engines import faster
from sonarseg.densecrf.engines.base import DEFAULT_ENGINE, Engine

TORCH = Engine("torch", "cuda")


@pytest.mark.parametrize(
    "on_the_device, on_the_cpu, chosen", [(5, 9, TORCH), (9, 5, DEFAULT_ENGINE), (5, 5, DEFAULT_ENGINE)]
)
def test_the_shorter_time_wins_and_both_are_told(monkeypatch, on_the_device, on_the_cpu, chosen):
    computed = []
    monkeypatch.setattr(Engine, "fallback_note", lambda engine: "")
    monkeypatch.setattr(
        Engine, "label_histories", lambda engine, tiles, *_: computed.append((engine.name, len(tiles)))
    )

    def milliseconds(work):
        work()
        return on_the_device if computed[-1][0] == "torch" else on_the_cpu

    monkeypatch.setattr(faster, "_milliseconds", milliseconds)
    engine, note = faster.faster_engine(TORCH, 2)
    assert engine == chosen
    assert note == (
        f"{chosen.name} is the faster here: 16 tiles of 256 x 256 take {on_the_device} ms by torch on cuda "
        f"and {on_the_cpu} ms by numba on cpu with 2 threads."
    )
    assert computed == [("torch", 16)] + [("numba", 1)] * 16


def test_the_clock_runs_for_a_quarter_second_after_a_warm_up(monkeypatch):
    now, calls = [0.0], []

    def work():
        calls.append(1)
        now[0] += 3.0 if len(calls) == 1 else 0.1

    monkeypatch.setattr(faster.time, "perf_counter", lambda: now[0])
    assert faster._milliseconds(work) == pytest.approx(100)
    assert len(calls) == 4
