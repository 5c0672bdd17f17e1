"""Imitating a simulated table recovers what it was made with."""

from __future__ import annotations

import numpy as np
import pytest

from lucule import simulate
from lucule.core import ColumnError, InputError, Localizations
from lucule.simulate.imitate import measure
from lucule.simulate.scene import load_scene

KNOWN = {
    "dye": {
        "kind": "switching", "on_time_s": 0.05, "off_time_s": 20.0,
        "photons": {"kind": "rate", "photons_per_s": 60_000, "event_cv": 0.3},
    },
    "frames": 3000, "size_um": 12, "background_photons": 35, "psf": "gaussian_2d", "camera": "emccd_ixon897",
    "molecules.specimen.density_per_um2": 20, "motion.linear_nm_per_min": (60, -30, 0),
}  # fmt: skip


@pytest.fixture(scope="module")
def imitation():
    return simulate.imitate(simulate.localizations(load_scene("uniform", **KNOWN), seed=5))


def test_parameters_are_recovered(imitation) -> None:
    scene = imitation.scene
    assert scene.dye.photons.photons_per_s == pytest.approx(60_000, rel=0.05)
    assert scene.dye.photons.event_cv == pytest.approx(0.3, abs=0.08)
    assert scene.dye.on_time_s == pytest.approx(0.05, rel=0.1)
    assert scene.dye.off_time_s == pytest.approx(20, rel=0.15)  # blinks for each molecule: 60 s / off_time_s
    assert scene.layers["molecules"].specimen.density_per_um2.limits[0] == pytest.approx(20, rel=0.15)
    assert scene.background_photons.limits[0] == pytest.approx(35, rel=0.01)
    assert load_psf_sigma(scene) == pytest.approx(130, rel=0.02)
    assert scene.motion.linear_nm_per_min[0] == pytest.approx(60, rel=0.05)
    assert scene.motion.linear_nm_per_min[1] == pytest.approx(-30, rel=0.05)


def load_psf_sigma(scene) -> float:
    return scene.psf["sigma_nm"]


def test_what_is_measured_agrees(imitation) -> None:
    ratio = dict(imitation.table().select("quantity", "ratio").iter_rows())
    for name in ("photons", "background", "x_err_nm", "frames_per_event", "localizations_per_um2"):
        assert ratio[name] == pytest.approx(1, abs=0.1), name


def test_errors_are_those_of_the_measurement(imitation) -> None:
    many = [measure(simulate.localizations(load_scene("uniform", **KNOWN), seed=s), interval_s=0.02) for s in range(8)]
    errors = dict(imitation.table().select("quantity", "error").iter_rows())
    for name in ("photons", "frames_per_event", "repeats", "localizations_per_um2"):
        spread = np.std([getattr(one, name) for one in many], ddof=1)
        assert 0.3 < errors[name] / spread < 3, name


@pytest.mark.slow
def test_a_movie_gives_what_it_was_made_with(tmp_path) -> None:
    small = KNOWN | {"frames": 1500, "size_um": 7, "molecules.specimen.density_per_um2": 40}
    movie, _ = simulate.movie(load_scene("uniform", **small), seed=5)
    found = simulate.imitate(movie, repeats=0)
    scene = found.scene
    assert scene.dye.photons.photons_per_s == pytest.approx(60_000, rel=0.08)
    assert scene.dye.on_time_s == pytest.approx(0.05, rel=0.15)
    assert scene.dye.off_time_s == pytest.approx(20, rel=0.25)
    assert scene.layers["molecules"].specimen.density_per_um2.limits[0] == pytest.approx(40, rel=0.25)
    assert scene.background_photons.limits[0] == pytest.approx(35, rel=0.02)
    assert load_psf_sigma(scene) == pytest.approx(130, rel=0.03)
    assert scene.motion.linear_nm_per_min[:2] == pytest.approx((60, -30), abs=8)
    assert simulate.movie(found.save(tmp_path / "mine.yaml"), frames=5)[0][:].shape[0] == 5


def test_written_scene_can_be_simulated(tmp_path, imitation) -> None:
    path = imitation.save(tmp_path / "mine.yaml")
    locs = simulate.localizations(path, seed=1, frames=100)
    assert len(locs) > 100


def test_bleaching_is_seen() -> None:
    known = load_scene("uniform", **(KNOWN | {"motion.linear_nm_per_min": (0, 0, 0)}))
    bleaching = known.with_changes(**{"dye.bleach_time_s": 30.0})
    found = simulate.imitate(simulate.localizations(bleaching, seed=2), rounds=2, repeats=0)
    assert found.scene.dye.bleach_time_s == pytest.approx(30, rel=0.15)
    assert found.scene.motion.linear_nm_per_min[:2] == pytest.approx((0, 0), abs=3)


def test_the_specimen_of_a_scene_is_kept() -> None:
    data = simulate.localizations(load_scene("uniform", **KNOWN), seed=5)
    template = load_scene("origami")
    found = simulate.imitate(data, scene=template, rounds=1, repeats=0)
    assert found.scene.layers["origami"].specimen == template.layers["origami"].specimen
    assert found.scene.labelling == template.labelling
    assert found.scene.dye.name == "imitation"


def test_a_scene_whose_layers_have_dyes_of_their_own_takes_the_dye_of_the_data() -> None:
    data = simulate.localizations(load_scene("uniform", **KNOWN), seed=5)
    template = load_scene("sarcomere")
    assert all(layer.dye is not None for layer in template.layers.values())
    found = simulate.imitate(data, scene=template, rounds=1, repeats=0)
    assert found.scene.dye.name == "imitation"
    assert all(layer.dye is None for layer in found.scene.layers.values())


def test_a_ratio_that_is_no_number_is_missing(imitation) -> None:
    table = imitation.table()
    drift = table.filter(quantity="drift_nm_per_min_x")["data"].item()
    assert (table.filter(quantity="drift_nm_per_min_x")["ratio"].item() is None) == (drift == 0)
    assert table["ratio"].drop_nulls().is_finite().all()
    assert table.filter(quantity="decay_s")["ratio"].item() is None


def test_the_camera_is_found_from_the_precision() -> None:
    data = simulate.localizations(load_scene("uniform", **KNOWN), seed=5)
    bare = Localizations(data.data, data.meta.model_copy(update={"camera": None}))
    assert simulate.imitate(bare, rounds=1, repeats=0).scene.camera.kind == "emccd"
    exact = Localizations(data.data.with_columns(data.data["x_err"] / 1.41421), bare.meta)
    assert simulate.imitate(exact, rounds=1, repeats=0).scene.camera.kind != "emccd"


def test_bad_tables() -> None:
    rng = np.random.default_rng(1)
    positions = {"x": rng.uniform(0, 9000, 600), "y": rng.uniform(0, 9000, 600)}
    with pytest.raises(ColumnError, match="column frame"):
        simulate.imitate(Localizations(positions))
    whole = positions | {"frame": np.arange(600), "photons": rng.uniform(500, 900, 600)}
    with pytest.raises(InputError, match="interval_s"):
        simulate.imitate(Localizations(whole))
    with pytest.raises(InputError, match="Too few"):
        simulate.imitate(Localizations({k: v[:50] for k, v in whole.items()}), interval_s=0.02)
    with pytest.raises(InputError, match="rounds"):
        simulate.imitate(Localizations(whole), interval_s=0.02, rounds=0)
    with pytest.raises(InputError, match="repeats=1"):
        simulate.imitate(Localizations(whole), interval_s=0.02, repeats=1)
    found = simulate.imitate(Localizations(whole), interval_s=0.02, rounds=1, repeats=0)
    assert found.data.background is None
    assert found.data.x_err_nm is None
