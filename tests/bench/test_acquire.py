"""The parts of the benchmark of acquisition: nothing is measured twice, and the frames of a long movie are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pymmcore_plus")

from lucule.bench import acquire

PARTS = ("_kills", "_fields", "_density", "_rings", "_rate")


def test_parts_that_are_there_are_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    for name in PARTS:
        monkeypatch.setattr(
            acquire, name, lambda *_, name=name, **__: measured.append(name) or [(name, 1.0, "nm", None)]
        )
    first = acquire.run(seed=1, folder=tmp_path)
    assert len(first) == len(measured) == len(PARTS) - 1 + acquire.SERIES
    (tmp_path / "rings.parquet").unlink()
    measured.clear()
    assert acquire.run(seed=1, folder=tmp_path).equals(first)
    assert measured == ["_rings"]


def test_a_long_movie_loses_no_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acquire, "FRAMES", 30)
    monkeypatch.setattr(acquire, "BURST", 10)
    lost, wall, cpu, memory = acquire._long_movie(tmp_path)
    assert lost == 0
    assert wall > 0
    assert cpu > 0
    assert len(memory) == 3
    assert memory == sorted(memory)
