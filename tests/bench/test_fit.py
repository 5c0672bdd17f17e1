"""The benchmark of fits runs, on few frames, and measures what it says."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from lucule.bench import fit as bench
from lucule.bench import picasso_spline
from lucule.simulate import load_camera, load_psf
from lucule.simulate.camera import expose
from lucule.simulate.optics import compile_psf

SMALL = {
    "SPEED_FRAMES": 20, "SINGLE_FRAMES": 40, "DEPTHS_NM": (0,), "LIGHT": ((5000.0, 50.0),), "CAMERAS": ("ideal",),
    "BIAS_EMITTERS": 200, "BIAS_LIGHT": ((5000.0, 50.0),), "BIAS_DEPTHS_NM": (0,), "PAIRS": (3.0,),
    "DENSITIES": (("low", 3.9e-4, 30),),
}  # fmt: skip

HILL = "1500 photons on 20 and a hill of 60"


@pytest.fixture(scope="module")
def rows():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setattr(bench, name, value)
        patch.setattr(bench, "find_spec", lambda _: None)
        yield {(r["what"].split(",")[0], r["method"], r["quantity"]): r["value"] for r in bench.run(seed=2).to_dicts()}


def test_every_part_gives_rows(rows):
    whats = {what for what, *_ in rows}
    assert whats == {"64 x 64 px", "alone", "bias", HILL, "two of 4000 photons", "three tubes"}
    methods = {method for what, method, _ in rows if what == "three tubes"}
    assert methods == {"alone", "multi", "network"}
    assert all(value > 0 for (*_, quantity), value in rows.items() if "/s of a core" in quantity)


def test_a_hill_of_the_background_draws_those_uphill_that_do_not_know_it(rows):
    # 160 emitters with errors of 5 nm: the mean is sure to 0.4 nm
    assert abs(rows[HILL, "gaussian", "drawn uphill, nm"]) < 1.3
    drawn = [value for (what, method, quantity), value in rows.items() if (what, quantity) == (HILL, "drawn uphill, nm")
             and method.startswith("gaussian, ")]  # fmt: skip
    assert drawn[0] > 2


@pytest.mark.parametrize("model", ["gaussian", "elliptical", "astigmatic", "spline"])
def test_lone_emitters_are_fitted_at_the_bound(rows, model):
    # 160 emitters: an error of 6 % of the ratio
    assert rows["alone", model, "error / bound x"] == pytest.approx(1, abs=0.25)
    assert rows["alone", model, "recall"] > 0.98
    # the largest mean of five places with 40 emitters each
    assert abs(rows["bias", model, "largest bias / bound x"]) < 5 * rows["bias", model, "its standard error x"]
    assert rows["bias", model, "its standard error y"] == pytest.approx(40**-0.5, rel=0.5)


def test_the_parts_are_small_picasso_stands_beside_and_what_was_measured_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda _: True)
    parts = bench._parts(2)
    # one for each model and each of what is done with it: none is longer than some minutes
    assert {f"single_{m.name}_{c}" for m in bench.MODELS for c in bench.CAMERAS} <= parts.keys()
    assert {"speed_spline_picasso", "phantoms_low_picasso", "phantoms_low_multi"} <= parts.keys()
    calls = []

    def measure(name):
        calls.append(name)
        if name == "b" and calls.count("b") == 1:
            raise KeyboardInterrupt
        return [bench._row("x", "y", name, 1.0)]

    monkeypatch.setattr(bench, "_parts", lambda _: {name: partial(measure, name) for name in "abc"})
    with pytest.raises(KeyboardInterrupt):
        bench.run(seed=2, folder=tmp_path)
    assert bench.run(seed=2, folder=tmp_path)["quantity"].to_list() == ["a", "b", "c"]
    assert calls == ["a", "b", "b", "c"]


def test_places_on_the_pixel_are_as_asked_for():
    offsets = np.array([[-3.9, 2.1], [0.1, 0.3], [1.5, -0.5]])
    scene = bench._lone(compile_psf("gaussian_2d", 100), load_camera("ideal"), 0, (5000.0, 50.0), offsets, 1)
    assert scene.movie.shape == (1, 64, 64)
    np.testing.assert_allclose(scene.xyz[:, :2], 100 * (np.array([[16, 16], [16, 48], [48, 16]]) + offsets))
    for x, y, _ in scene.xyz:
        near = scene.movie[0, int(y // 100) - 2 : int(y // 100) + 3, int(x // 100) - 2 : int(x // 100) + 3]
        assert near.sum() > scene.movie[0, -5:, -5:].sum() + 2000


@pytest.mark.slow
def test_positions_of_picasso_are_brought_to_ours():
    pytest.importorskip("picasso")
    kernel = compile_psf(load_psf("vectorial_astigmatic", z_range_nm=(-400, 400)), 100)
    camera = load_camera("ideal")
    true = np.array([[3040.0, 3310.0, -200.0], [3460.0, 2980.0, 150.0]])
    light = np.stack([kernel.image(*xyz[:, None], 20_000.0, (64, 64)) + 20 for xyz in true]).astype(np.float32)
    found = picasso_spline.calibrated(kernel, camera, 1).localize(expose(light, camera, seed=1), 3000.0)
    assert found["frame"].tolist() == [0, 1]
    np.testing.assert_allclose(np.stack([found[a] for a in "xyz"], axis=1), true, atol=30)
