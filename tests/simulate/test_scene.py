"""Scenes: composition, placement, changes, packaged scenes, determinism."""

from __future__ import annotations

import numba
import numpy as np
import polars as pl
import pytest
from scipy.spatial import cKDTree

from lucule.core import InputError
from lucule.simulate.sample import blink_sample, draw_sample, label_sample, record, simulate_truth
from lucule.simulate.scene import Scene, load_scene, scenes
from lucule.simulate.slide import Slide


def scene(**changes):
    values = {
        "field": {"size_um": 10},
        "layers": {"rings": {"specimen": {"kind": "ring", "radius_nm": 100}, "placement": {"count": 50}}},
    }
    return Scene.parse(values | changes)


@pytest.mark.parametrize("name", scenes())
def test_packaged_scenes_run_from_specimen_to_emitters(name, tmp_path):
    loaded = load_scene(name, frames=200)
    assert loaded.title
    assert Scene.from_yaml(loaded.to_yaml(tmp_path / "scene.yaml")) == loaded
    truth = simulate_truth(loaded, seed=1)
    assert len(truth.emitters) > 0
    assert truth.structures["epitopes"].sum() == (truth.epitopes["structure"] >= 0).sum()
    assert truth.structures["structure"].to_list() == list(range(len(truth.structures)))
    assert (truth.emitters["frame"] < 200).all()


def test_sarcomere_scene_holds_the_numbers_of_the_paper():
    loaded = load_scene("sarcomere")
    lines, noise = loaded.layers["double_lines"], loaded.layers["noise"]
    assert lines.specimen.line_distance_nm.limits == (120, 128)
    assert lines.specimen.epitopes_per_um2.limits == (30, 50)
    assert (lines.dye.on_time_s, lines.dye.off_time_s, lines.dye.bleach_time_s) == (0.03, 50, 1700)
    assert (noise.dye.on_time_s, noise.dye.off_time_s, noise.dye.bleach_time_s) == (0.05, 42, 1700)
    assert (lines.dye.photons.photons_per_s, noise.dye.photons.photons_per_s) == (80_000, 100_000)
    assert lines.labelling.linkers[0].number.mean.choices == (5, 6)
    assert noise.labelling.linkers[0].length_nm.choices == (10, 15, 30)
    assert noise.labelling.unspecific_per_um3.choices == (0, 3)
    assert (loaded.acquisition.interval_s, loaded.acquisition.exposure_s) == (1 / 20, 0.02)
    assert loaded.camera.pixel_size_nm == (160, 160)
    assert (loaded.camera.electrons_per_count, loaded.camera.em_gain, loaded.camera.quantum_efficiency) == (
        21.5,
        90,
        0.9,
    )

    sample = draw_sample(loaded, seed=2)
    found = sample.structures.filter(pl.col("layer") == "double_lines")
    assert len(found) == 27
    assert found["line_distance_nm"].is_between(120, 128).all()
    assert set(found["diameter_nm"]) == {1500}
    for fibril in range(3):
        centres = found.filter(pl.col("object") == fibril).select("x", "y").to_numpy()
        np.testing.assert_allclose(np.linalg.norm(np.diff(centres, axis=0), axis=1), 3400)
    dyes = label_sample(sample)
    noise_points = dyes.data.filter(pl.col("label") == 0).select("x", "y").to_numpy()
    line_points = sample.epitopes.data.filter(pl.col("label") == 1).select("x", "y").to_numpy()
    unspecific = dyes.data.filter(pl.col("epitope") < 0).select("x", "y").to_numpy()
    assert 2000 < len(noise_points) < len(dyes)
    if len(unspecific):
        assert cKDTree(line_points).query(unspecific)[0].min() >= 50


def test_background_keeps_away_from_structures():
    layers = {
        "rings": {"specimen": {"kind": "ring", "radius_nm": 100}, "placement": {"count": 50}},
        "background": {"specimen": {"kind": "uniform", "density_per_um2": 200}, "label": 0},
    }
    sample = draw_sample(scene(layers=layers, noise_clearance_nm=60), seed=1)
    of = sample.epitopes.data
    rings, background = (of.filter(pl.col("label") == k).select("x", "y").to_numpy() for k in (1, 0))
    assert cKDTree(rings).query(background)[0].min() >= 60
    assert len(background) > 15_000


def test_objects_at_random_places_do_not_overlap():
    sample = draw_sample(scene(), seed=3)
    centres = sample.structures.select("x", "y").to_numpy()
    assert cKDTree(centres).query(centres, k=2)[0][:, 1].min() >= 200
    assert centres.min() >= 100
    assert centres.max() <= 9900
    for i in range(50):
        points = sample.epitopes.data.filter(pl.col("structure") == i).select("x", "y").to_numpy()
        np.testing.assert_allclose(np.linalg.norm(points - centres[i], axis=1), 100)


def test_elongated_objects_do_not_overlap():
    layers = {"lines": {"specimen": {"kind": "line", "length_nm": 4000}, "placement": {"count": 15, "gap_nm": 100}}}
    sample = draw_sample(scene(layers=layers), seed=3)
    for i in range(15):
        rows = pl.col("structure") == i
        own, others = (sample.epitopes.data.filter(r).select("x", "y").to_numpy() for r in (rows, ~rows))
        assert cKDTree(others).query(own)[0].min() > 100


def test_densities_that_cannot_fit_are_one_clear_error():
    with pytest.raises(InputError, match=r"do not fit into the field .* Allowed: about \d+ such structures"):
        draw_sample(load_scene(scene(), **{"rings.placement": {"count": 5000}}), seed=1)
    with pytest.raises(InputError, match="clusters do not fit"):
        draw_sample(load_scene("clusters", radius_nm=500), seed=1)
    too_long = {"fibre": {"specimen": {"kind": "line", "length_nm": 30_000}, "placement": {"count": 1}}}
    with pytest.raises(InputError, match="about 0 such structures"):
        draw_sample(scene(layers=too_long), seed=1)


def test_overlap_may_be_allowed():
    sample = draw_sample(load_scene(scene(), **{"rings.placement": {"count": 5000, "overlap": True}}), seed=1)
    assert len(sample.structures) == 5000


def test_given_positions_and_grids():
    placement = {"positions_nm": [[1000, 2000, 50], [3000, 4000, -50]], "angles_deg": [90, -180]}
    layers = {"lines": {"specimen": {"kind": "line"}, "placement": placement}}
    table = draw_sample(scene(layers=layers), seed=1).structures
    assert table.select("x", "y", "z").rows() == [(1000, 2000, 50), (3000, 4000, -50)]
    assert table["angle_deg"].to_list() == [90, -180]
    grid = {"dots": {"specimen": {"kind": "spot"}, "placement": {"grid": [2, 3], "grid_spacing_nm": 1000}}}
    table = draw_sample(scene(layers=grid), seed=1).structures
    assert table.select("x", "y").rows() == [(x, y) for y in (4500, 5500) for x in (4000, 5000, 6000)]
    with pytest.raises(InputError, match="grid does not fit"):
        draw_sample(load_scene(scene(layers=grid), grid=[2, 30]), seed=1)


def test_orientation_in_the_truth_is_that_of_the_points():
    sample = draw_sample(load_scene("sarcomere_varied", tilt_deg=0, divergence_deg=0, axial_tilt_deg=0), seed=5)
    for row in sample.structures.filter(pl.col("layer") == "double_lines").head(6).iter_rows(named=True):
        own = sample.epitopes.data.filter(pl.col("structure") == row["structure"])
        one, two = (own.filter(pl.col("part") == k).select(pl.col("x", "y").mean()).to_numpy()[0] for k in (0, 1))
        dx, dy = two - one
        angle = np.radians(row["angle_deg"])
        # the two means scatter across the myofibril, not along it
        assert dx * np.cos(angle) + dy * np.sin(angle) == pytest.approx(row["line_distance_nm"], abs=15)


def test_one_object_lies_in_the_middle_by_default():
    table = draw_sample(scene(layers={"one": {"specimen": {"kind": "spot"}}}), seed=1).structures
    assert table.select("x", "y").rows() == [(5000, 5000)]


def test_nothing_is_a_scene_too():
    empty = scene(layers={"none": {"specimen": {"kind": "ring"}, "placement": {"count": 0}}})
    truth = simulate_truth(empty, seed=1)
    assert [len(level) for level in (truth.structures, truth.epitopes, truth.dyes, truth.events, truth.emitters)] == [
        0
    ] * 5


def test_compartments_hold_their_specimens():
    sample = draw_sample(load_scene("cell"), seed=2)
    of = sample.epitopes.data
    xy = {
        layer: of.filter(pl.col("layer") == k).select("x", "y").to_numpy()
        for k, layer in enumerate(("tubes", "pores", "membrane"))
    }
    assert not sample.shapes["nucleus"].contains(xy["tubes"]).any()
    assert sample.shapes["nucleus"].contains(xy["pores"]).mean() > 0.999
    assert sample.shapes["cell"].contains(xy["membrane"]).all()
    area = sample.shapes["cytoplasm"].area_um2
    assert area == pytest.approx(sample.shapes["cell"].area_um2 - sample.shapes["nucleus"].area_um2)
    assert sample.shapes["cytoplasm"].region().area_um2 == pytest.approx(area, rel=0.01)


def test_layers_do_not_depend_on_one_another():
    alone = draw_sample(load_scene("shapes"), seed=1)
    values = load_scene("shapes").model_dump()
    values["layers"] = {"extra": {"specimen": {"kind": "uniform", "density_per_um2": 1}}} | values["layers"]
    more = draw_sample(Scene.parse(values), seed=1)
    assert more.epitopes.data.filter(pl.col("layer") == 1)["x"].equals(
        alone.epitopes.data.filter(pl.col("layer") == 0)["x"]
    )


def test_same_seed_same_bits_whatever_the_threads():
    loaded = load_scene("sarcomere_varied", frames=500)
    before = numba.get_num_threads()
    first = simulate_truth(loaded, seed=11)
    numba.set_num_threads(1)
    try:
        second = simulate_truth(loaded, seed=11)
    finally:
        numba.set_num_threads(before)
    assert first.structures.equals(second.structures)
    for level in ("epitopes", "dyes", "events", "emitters"):
        assert getattr(first, level).data.equals(getattr(second, level).data), level
    assert not simulate_truth(loaded, seed=12).emitters.data.equals(first.emitters.data)


def test_blocks_of_frames_make_up_the_acquisition():
    loaded = load_scene("origami", frames=300)
    dyes = label_sample(draw_sample(loaded, seed=1))
    events = blink_sample(dyes, loaded, seed=1)
    blocks = [record(events, dyes, loaded, first_frame=f, frames=100).data for f in (0, 100, 200)]
    assert pl.concat(blocks).equals(record(events, dyes, loaded).data)


def test_labelling_of_a_layer_is_its_own():
    layers = {
        "a": {"specimen": {"kind": "uniform", "density_per_um2": 50}, "labelling": 0.5},
        "b": {"specimen": {"kind": "uniform", "density_per_um2": 50}},
        "c": {"specimen": {"kind": "uniform", "density_per_um2": 50}},
    }
    dyes = label_sample(draw_sample(scene(layers=layers, labelling={"unspecific_per_um2": 10}), seed=1))
    counts = dyes.data.filter(pl.col("epitope") >= 0).group_by("layer").len().sort("layer")["len"].to_list()
    assert counts[0] / counts[1] == pytest.approx(0.5, abs=0.05)
    # the unspecific labels of the scene come once, however many layers use its labelling
    assert (dyes["epitope"] < 0).sum() == pytest.approx(1000, abs=130)


def test_changes_by_short_name_by_path_and_of_the_scene():
    loaded = load_scene(
        "sarcomere",
        line_distance_nm=136,
        labelling=0.5,
        frames=100,
        size_um=50,
        **{"noise.specimen.density_per_um2": 7},
    )
    assert loaded.layers["double_lines"].specimen.line_distance_nm.limits == (136, 136)
    assert loaded.layers["double_lines"].labelling.probability == 0.5
    assert loaded.layers["noise"].labelling.probability == 1
    assert loaded.acquisition.frames == 100
    assert loaded.field.size_um == (50, 50)
    assert loaded.layers["noise"].specimen.density_per_um2.limits == (7, 7)
    assert load_scene("axon", count=1, **{"field.axial_range_nm": 900}).field.axial_range_nm == 900


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("nothing", {}, "sarcomere"),
        ("sarcomere", {"line_distance": 120}, "no such setting"),
        ("sarcomere", {"line_distance_nm": -3}, "line_distance_nm"),
        ("shapes", {"epitopes": 5}, "Several layers"),
        ("sarcomere", {"dye": "af647"}, "own dye.*double_lines.dye"),
        ("axon", {"dye": "af999"}, "af999"),
        ("sarcomere", {"frames": 0}, "frames"),
        ("sarcomere", {"exposure_s": 5}, "longer than the interval"),
        ("sarcomere", {"labelling": 1.5}, "labelling"),
    ],
)
def test_wrong_changes_are_one_clear_error(name, changes, message):
    with pytest.raises(InputError, match=message):
        load_scene(name, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": {}}, "1 to 255 layers"),
        ({"layers": {"a": {"specimen": {"kind": "yeti"}}}}, "yeti"),
        (
            {"layers": {"a": {"specimen": {"kind": "uniform", "density_per_um2": 1}, "placement": {"count": 1}}}},
            "takes no placement",
        ),
        (
            {"layers": {"a": {"specimen": {"kind": "ring"}, "placement": {"count": 1, "density_per_um2": 1}}}},
            "exactly one of",
        ),
        ({"layers": {"a": {"specimen": {"kind": "ring"}, "placement": {"grid": [2, 2]}}}}, "go together"),
        ({"layers": {"a": {"specimen": {"kind": "ring"}, "within": "nucleus"}}}, "no cell"),
        ({"field": {"outline": "cell", "size_um": 10}}, "does not fit into a field of 10 um"),
        ({"field": {"nucleus_radius_um": [1, 2]}}, "a nucleus needs"),
        ({"fields": {}}, "fields is not a known key"),
    ],
)
def test_impossible_scenes_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        scene(**changes)


def test_files_in_a_scene_are_relative_to_it(tmp_path):
    (tmp_path / "points.csv").write_text("x,y\n10,20\n")
    (tmp_path / "mine.yaml").write_text("layers: {points: {specimen: {kind: table, file: points.csv}}}\n")
    assert draw_sample(load_scene(tmp_path / "mine.yaml"), seed=1).epitopes["x"].tolist() == [10]


def test_cells_of_a_slide_are_drawn_on_demand():
    slide = Slide(
        size_um=(1000, 800),
        cells={"a": {"scene": "clusters", "density_per_mm2": 100}, "b": {"scene": "cell", "density_per_mm2": 50}},
    )
    table = slide.overview(seed=1)
    assert table["kind"].value_counts().sort("kind")["count"].to_list() == [80, 40]
    places = table.select("x_um", "y_um").to_numpy()
    pairs = cKDTree(places).query_pairs(40, output_type="ndarray")
    reach = table["radius_um"].to_numpy()
    assert (np.linalg.norm(places[pairs[:, 0]] - places[pairs[:, 1]], axis=1) >= reach[pairs].sum(axis=1) + 2).all()

    cell = 17
    x, _ = slide.corner_nm(cell, seed=1)
    middle = places[cell]
    found = slide.epitopes((middle[0] - 3, middle[1] - 3, middle[0] + 3, middle[1] + 3), seed=1)
    assert set(found["cell"]) == {cell}
    whole = slide.sample(cell, seed=1)
    assert slide.shapes(cell, seed=1)["cell"].area_um2 == whole.shapes["cell"].area_um2
    assert np.isin(found["x"], whole.epitopes["x"] + x).all()
    assert len(slide.visible((-10, -10, -5, -5), seed=1)) == 0
    assert len(slide.epitopes((-10, -10, -5, -5), seed=1)) == 0
    with pytest.raises(InputError, match="no such cell"):
        slide.sample(120, seed=1)


def test_crowded_slides_are_refused():
    with pytest.raises(InputError, match="do not fit"):
        Slide(size_um=(200, 200), cells={"a": {"scene": "cell", "density_per_mm2": 2000}}).overview(seed=1)
