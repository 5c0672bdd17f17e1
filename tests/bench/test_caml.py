"""The paper's experiments: a small run gives a complete table, and the structures are what they should be."""

from __future__ import annotations

import numpy as np
import pytest

from lucule.bench import caml
from lucule.nn import FitSettings


@pytest.mark.parametrize(("kind", "clusters"), [("lines", 160), ("rings", 198)])
def test_structures(kind, clusters):
    locs = caml.structures(kind, seed=1)
    label, x = locs["true_label"], locs["x"]
    assert label.sum() == 20 * clusters
    left, right = (np.histogram(x[label == 0], [0, 1000, 7000, 8000])[0][i] for i in (0, 2))
    # 20 to 200 per um2: 31 in the first um, 189 in the last
    assert right / left == pytest.approx(6, rel=0.25)


def test_a_small_run_is_complete(monkeypatch):
    small = {
        "PLANE": ("XPILJZ",), "TESTED_SCENARIOS": 3, "TESTED": 300, "LARGEST_FIELD": 1500, "FIGURE_3": ((100, 20),),
        "FRACTIONS": (0.5,), "RADII_NM": (20, 50), "RANDOM_PER_UM2": (10,), "LARGE": (150,), "WINDOWS": (50,),
        "WINDOW_SIZES": (30,), "TRAINED": 600, "TIMED": 2000,
        "WINDOW_TRAIN": FitSettings(epochs=4, learning_rate=1e-2), "INPUT_TRAIN": FitSettings(epochs=1),
    }  # fmt: skip
    for name, value in small.items():
        monkeypatch.setattr(caml, name, value)
    table = caml.run(seed=2)
    assert set(table["part"]) == {
        "test", "figure 3", "gaussian", "random", "large", "structures", "window", "input", "speed",
    }  # fmt: skip
    assert table["accuracy"].drop_nulls().is_between(0, 1).all()
    figure = table.filter(part="figure 3").row(0, named=True)
    assert figure["fields"] == 2
    assert figure["accuracy"] > 0.9
    cells = [int(n) for n in figure["confusion"].replace(";", "").split()]
    assert (cells[0] + cells[3]) / sum(cells) == pytest.approx(figure["accuracy"], abs=1e-4)
    assert table.filter(part="test", method="XPILJZ")["paper_accuracy"].to_list() == [0.92]
