"""Every structure's dimensions can be measured from its epitopes and agree with its truth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from lucule.core import ColumnError, InputError
from lucule.simulate.curves import Curve, worm_like_chain
from lucule.simulate.specimens import (
    Clusters,
    Fibre,
    FromFunction,
    FromImage,
    FromTable,
    Helices,
    Line,
    Microtubules,
    Myofibril,
    NuclearPore,
    Origami,
    Rectangle,
    Reticulum,
    Ring,
    RingAxon,
    Space,
    Spot,
    ThreeTubes,
    Uniform,
    Vesicles,
)

SPACE = Space(Rectangle((0.0, 0.0), (10_000.0, 10_000.0)), (-300.0, 300.0))


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def check(drawn):
    """What holds for every specimen."""
    assert drawn.xyz.shape == (len(drawn.structure), 3)
    assert np.isfinite(drawn.xyz).all()
    assert drawn.structure.dtype == np.int32
    assert drawn.structure.max(initial=-1) < len(drawn.truth)
    if drawn.normal is not None:
        np.testing.assert_allclose(np.linalg.norm(drawn.normal, axis=1), 1, rtol=1e-9)
    assert (drawn.circles[:, 3] > 0).all()
    return drawn


def covered(drawn):
    """Whether the covering circles hold every epitope of their object."""
    owner = drawn.truth["object"].to_numpy()[drawn.structure]
    near = np.full(len(drawn.xyz), np.inf)
    for name, x, y, r in drawn.circles:
        rows = owner == name
        near[rows] = np.minimum(near[rows], np.hypot(drawn.xyz[rows, 0] - x, drawn.xyz[rows, 1] - y) - r)
    return (near <= 1e-6).mean()


def test_spots_have_their_radius(rng):
    for shape, dims in (("disc", 2), ("gaussian", 2), ("sphere", 3), ("shell", 3)):
        drawn = check(Spot(kind="spot", epitopes=20_000, radius_nm=50, shape=shape).objects(rng, 1))
        squared = (drawn.xyz**2).sum(axis=1).mean()
        expected = {"disc": 1 / 2, "gaussian": 1 / 2, "sphere": 3 / 5, "shell": 1}[shape]
        assert squared / 2500 == pytest.approx(expected, rel=0.03), shape
        assert (drawn.xyz[:, 2] == 0).all() == (dims == 2)


def test_lines_and_rings(rng):
    line = check(Line(kind="line", length_nm=2000, width_nm=10, epitopes_per_um=5000).objects(rng, 1))
    assert stats.kstest(line.xyz[:, 0], stats.uniform(-1000, 2000).cdf).pvalue > 0.01
    assert line.xyz[:, 1:].std() == pytest.approx(10, rel=0.03)
    ring = check(Ring(kind="ring", radius_nm=[100, 200], width_nm=5, epitopes=2000).objects(rng, 3))
    for i, radius in enumerate(ring.truth["radius_nm"]):
        distance = np.hypot(*ring.xyz[ring.structure == i, :2].T)
        assert distance.mean() == pytest.approx(radius, abs=0.5)
        assert distance.std() == pytest.approx(5, rel=0.1)
    assert covered(line) > 0.95
    assert covered(ring) > 0.95


def test_fibres_bend_as_their_persistence_says(rng):
    fibre = Fibre(kind="fibre", length_nm=4000, persistence_nm=2000, epitopes_per_um=10)
    drawn = check(fibre.objects(rng, 400))
    # worm-like chain in the plane: <R^2> = 4 P L (1 - 2 P / L (1 - exp(-L / 2 P)))
    p, length = 2000, 4000
    expected = 4 * p * length * (1 - 2 * p / length * (1 - np.exp(-length / (2 * p))))
    assert (drawn.truth["end_to_end_nm"] ** 2).mean() == pytest.approx(expected, rel=0.08)
    assert covered(drawn) == 1


def test_worm_like_chain_in_space_loses_its_direction(rng):
    ends = np.array(
        [worm_like_chain(rng, 1000, 1000, z_nm=(-1e9, 1e9), step_nm=10).tangents[-1, 0] for _ in range(2000)]
    )
    assert ends.mean() == pytest.approx(np.exp(-1), abs=0.04)


def test_curves_carry_an_even_frame():
    angle = np.linspace(0, 6 * np.pi, 400)
    curve = Curve.through(np.column_stack([1000 * np.cos(angle), 1000 * np.sin(angle), 100 * angle]))
    steps = np.linalg.norm(np.diff(curve.points_nm, axis=0), axis=1)
    assert steps.std() / steps.mean() < 1e-3
    assert curve.length_nm == pytest.approx(6 * np.pi * np.hypot(1000, 100), rel=1e-3)
    points, outward = curve.around(np.linspace(100, 5000, 500), np.linspace(0, 50, 500), 12.5)
    centre, tangent, *_ = curve.at(np.linspace(100, 5000, 500))
    np.testing.assert_allclose(np.linalg.norm(points - centre, axis=1), 12.5, rtol=1e-9)
    assert np.abs((outward * tangent).sum(axis=1)).max() < 1e-9


@pytest.mark.parametrize("distance", [60, 120, 200])
def test_double_lines_have_their_dimensions(rng, distance):
    fibril = Myofibril(kind="myofibril", double_lines=9, line_distance_nm=distance, epitopes_per_um2=400, sides="outer")
    drawn = check(fibril.objects(rng, 1))
    assert covered(drawn) == 1
    places = []
    for i in range(9):
        x, y, z = drawn.xyz[drawn.structure == i].T
        line = drawn.part[drawn.structure == i]
        assert x[line == 1].mean() - x[line == 0].mean() == pytest.approx(distance, abs=1e-6)
        # a disc seen from the side: the standard deviation across is a quarter of the diameter
        assert 4 * y.std() == pytest.approx(1500, rel=0.05)
        assert 4 * z.std() == pytest.approx(1500, rel=0.05)
        places.append(x.mean())
    np.testing.assert_allclose(np.diff(places), 3400, atol=distance * 0.1)
    assert len(drawn.xyz) == pytest.approx(18 * 400 * np.pi * 0.75**2, rel=0.03)
    assert (np.sign(drawn.normal[:, 0]) == np.where(drawn.part == 0, -1, 1)).all()


def test_both_sides_of_discs_are_labelled(rng):
    drawn = Myofibril(kind="myofibril", double_lines=1, epitopes_per_um2=400).objects(rng, 1)
    assert (drawn.normal[:, 0] > 0).mean() == pytest.approx(0.5, abs=0.05)
    assert len(drawn.xyz) == pytest.approx(4 * 400 * np.pi * 0.75**2, rel=0.08)


def test_tilt_divergence_register_and_curvature(rng):
    fibril = Myofibril(
        kind="myofibril", double_lines=40, epitopes_per_um2=200, register_jitter_nm=60, tilt_deg=[-10, 10],
        divergence_deg=6, bend_radius_um=100, sides="outer",
    )  # fmt: skip
    drawn = check(fibril.objects(rng, 1))
    truth = drawn.truth
    assert np.diff(truth["along_nm"].to_numpy()).std() == pytest.approx(60 * np.sqrt(2), rel=0.35)
    for i in (0, 20, 39):
        row = truth.row(i, named=True)
        points = drawn.xyz[drawn.structure == i, :2] - [row["x"], row["y"]]
        angle = np.radians(row["angle_deg"])
        along, across = points @ [np.cos(angle), np.sin(angle)], points @ [-np.sin(angle), np.cos(angle)]
        line = drawn.part[drawn.structure == i]
        slopes = [np.polyfit(across[line == k], along[line == k], 1) for k in (0, 1)]
        assert np.degrees(slopes[1][0] - slopes[0][0]) == pytest.approx(6, abs=0.2)
        assert slopes[1][1] - slopes[0][1] == pytest.approx(120, abs=2)
    # the middle of the arc is at the origin, its ends lie on a circle of 100 um
    ends = truth.select("x", "y").to_numpy()[[0, -1]]
    s = truth["along_nm"].to_numpy()[[0, -1]]
    np.testing.assert_allclose(np.abs(ends[:, 1]), 1e5 * (1 - np.cos(s / 1e5)), rtol=1e-6)


def test_axial_tilt_leans_the_discs(rng):
    drawn = Myofibril(kind="myofibril", double_lines=1, axial_tilt_deg=20, epitopes_per_um2=500, sides="outer").objects(
        rng, 1
    )
    one = drawn.xyz[drawn.part == 0]
    assert np.polyfit(one[:, 2], one[:, 0], 1)[0] == pytest.approx(-np.tan(np.radians(20)), rel=0.02)


def test_rings_of_axons_have_their_period_and_diameter(rng):
    axon = RingAxon(
        kind="ring_axon",
        length_um=10,
        period_nm=190,
        diameter_nm=400,
        persistence_um=1e6,
        epitopes_per_ring=60,
        width_nm=3,
    )
    drawn = check(axon.objects(rng, 1))
    ring_x = np.array([drawn.xyz[drawn.part == ring, 0].mean() for ring in range(52)])
    np.testing.assert_allclose(np.diff(ring_x), 190, atol=4)
    assert drawn.truth["mean_spacing_nm"][0] == pytest.approx(190)
    assert drawn.truth["rings"][0] == 52
    assert np.hypot(drawn.xyz[:, 1], drawn.xyz[:, 2]).mean() == pytest.approx(200, abs=1.5)
    assert covered(drawn) == 1


def test_spacing_jitter_accumulates_and_phase_jitter_does_not(rng):
    common = {
        "kind": "ring_axon",
        "length_um": 19,
        "period_nm": 190,
        "epitopes_per_ring": 50,
        "persistence_um": 1e6,
        "width_nm": 0,
    }

    def drift(**jitter):
        """Standard deviation of the distance between first and last ring."""
        drawn = RingAxon(**common, **jitter).objects(rng, 150)
        return (drawn.truth["mean_spacing_nm"].to_numpy() * (drawn.truth["rings"].to_numpy() - 1)).std()

    assert drift(spacing_jitter_nm=5) == pytest.approx(5 * np.sqrt(99), rel=0.2)
    assert drift(phase_jitter_nm=5) == pytest.approx(5 * np.sqrt(2), rel=0.2)


def test_missing_and_tilted_rings(rng):
    drawn = RingAxon(
        kind="ring_axon",
        length_um=200,
        missing=0.2,
        ring_tilt_deg=10,
        persistence_um=1e6,
        width_nm=0,
        epitopes_per_ring=30,
    ).objects(rng, 1)
    assert drawn.truth["missing_rings"][0] / drawn.truth["rings"][0] == pytest.approx(0.2, abs=0.04)
    spread = [drawn.xyz[drawn.part == ring, 0].std() for ring in np.unique(drawn.part)]
    # a ring of radius R that is tilted by t reaches R tan(t) along the axon; its spread is that over sqrt(2)
    assert np.sqrt(np.mean(np.square(spread))) == pytest.approx(200 * np.tan(np.radians(10)) / np.sqrt(2), rel=0.15)


def test_ring_axons_follow_their_bends(rng):
    drawn = RingAxon(kind="ring_axon", length_um=15, persistence_um=10, spacing_jitter_nm=3, phase_jitter_nm=3).objects(
        rng, 3
    )
    assert covered(check(drawn)) > 0.99
    for i in range(3):
        rows = drawn.structure == i
        centres = np.array(
            [drawn.xyz[rows & (drawn.part == ring)].mean(axis=0) for ring in np.unique(drawn.part[rows])]
        )
        assert np.median(np.linalg.norm(np.diff(centres, axis=0), axis=1)) == pytest.approx(190, rel=0.3)


def test_nuclear_pores(rng):
    drawn = check(NuclearPore(kind="nuclear_pore").objects(rng, 50))
    assert len(drawn.xyz) == 50 * 32
    np.testing.assert_allclose(np.hypot(*drawn.xyz[:, :2].T), 53.5)
    assert sorted(set(drawn.xyz[:, 2].round(6))) == [-25, 25]
    one = drawn.xyz[(drawn.structure == 0) & (drawn.xyz[:, 2] > 0)]
    angles = np.sort(np.degrees(np.arctan2(one[:, 1], one[:, 0])) % 45)
    # one corner every 45 degrees, each with two copies 12 nm apart
    assert angles[:8].std() < 1e-6
    assert angles[8:].std() < 1e-6
    gap = angles[-1] - angles[0]
    assert min(gap, 45 - gap) == pytest.approx(np.degrees(12 / 53.5), rel=1e-6)
    assert covered(drawn) == 1


def test_tilted_and_deformed_pores(rng):
    tilted = NuclearPore(kind="nuclear_pore", tilt_deg=30).objects(rng, 20)
    for i in range(20):
        points = tilted.xyz[tilted.structure == i]
        upper = np.tile(np.repeat(np.arange(16) < 8, 2), 1)
        axis = points[upper].mean(axis=0) - points[~upper].mean(axis=0)
        assert np.linalg.norm(axis) == pytest.approx(50)
        assert np.degrees(np.arccos(axis[2] / 50)) == pytest.approx(30)
    squeezed = NuclearPore(kind="nuclear_pore", ellipticity=0.2, corners=60).objects(rng, 10)
    for i in range(10):
        spread = np.sqrt(np.linalg.eigvalsh(np.cov(squeezed.xyz[squeezed.structure == i, :2].T)))
        assert spread[1] / spread[0] == pytest.approx(1.1 / 0.9, rel=0.01)
    shaken = NuclearPore(kind="nuclear_pore", jitter_nm=3).objects(rng, 100)
    assert shaken.xyz[:, 2].std() == pytest.approx(np.hypot(25, 3), rel=0.02)


def test_origami_sites(rng):
    drawn = check(Origami(kind="origami", rows=3, columns=4, spacing_nm=20, incorporation=0.8).objects(rng, 500))
    assert len(drawn.xyz) / 6000 == pytest.approx(0.8, abs=0.02)
    assert drawn.truth["sites"].sum() == len(drawn.xyz)
    assert sorted(set(drawn.xyz[:, 0])) == [-30, -10, 10, 30]
    assert sorted(set(drawn.xyz[:, 1])) == [-20, 0, 20]
    assert covered(drawn) == 1


def test_microtubules_are_hollow_tubes(rng):
    tubes = Microtubules(kind="microtubules", count=5, length_um=6, persistence_um=1e6)
    drawn = check(tubes.fill(rng, Space(SPACE.outline, (0.0, 0.0))))
    for i in range(5):
        points = drawn.xyz[drawn.structure == i]
        if len(points) < 500:
            continue
        direction = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][0]
        across = points - points.mean(axis=0)
        across -= np.outer(across @ direction, direction)
        assert np.linalg.norm(across, axis=1).mean() == pytest.approx(12.5, rel=0.03)
    assert drawn.truth["length_nm"].to_list() == pytest.approx([6000] * 5, rel=1e-3)


def test_microtubule_lattice_has_thirteen_protofilaments(rng):
    tubes = Microtubules(kind="microtubules", count=1, length_um=2, persistence_um=1e6, lattice=True)
    drawn = tubes.fill(rng, Space(Rectangle((0, 0), (1e5, 1e5)), (0.0, 0.0)))
    assert len(drawn.xyz) == 13 * 250
    assert len(np.unique(drawn.normal.round(2), axis=0)) == 13


def test_microtubules_stay_within_the_depth_and_the_field(rng):
    drawn = Microtubules(kind="microtubules", count=10, epitopes_per_um=50).fill(rng, SPACE)
    assert np.abs(drawn.xyz[:, 2]).max() < 300 + 50
    assert SPACE.outline.contains(drawn.xyz[:, :2]).all()


def test_microtubules_lie_flat(rng):
    steep = {}
    for limit in (20, 90):
        walk = worm_like_chain(rng, 20_000, 2000, z_nm=(-300, 300), steepest_deg=limit)
        steps = np.diff(walk.points_nm, axis=0)
        assert np.linalg.norm(steps, axis=1) == pytest.approx(10, rel=1e-9)
        assert np.abs(walk.points_nm[:, 2]).max() < 310
        steep[limit] = np.degrees(np.arcsin(np.abs(steps[:, 2]).max() / 10))
    assert steep[20] == pytest.approx(20, abs=1e-6)
    assert steep[90] > 40  # what the limit is for


def test_helices_for_structure_based_training(rng):
    space = Space(Rectangle((0, 0), (6400, 6400)), (-700, 700))
    drawn = check(Helices(kind="helices", helix_radius_nm=200, turns=3).fill(rng, space))
    assert np.bincount(drawn.part).tolist() == [5000] * 3
    assert np.ptp(drawn.xyz[:, 2]) > 900
    # the three helices keep apart: strands at 120 degrees are 200 sqrt(3) nm from each other
    from scipy.spatial import cKDTree

    near = cKDTree(drawn.xyz[drawn.part == 0]).query(drawn.xyz[drawn.part == 1])[0]
    assert np.percentile(near, 5) > 150


def test_three_tubes_of_the_challenge(rng):
    space = Space(Rectangle((0, 0), (6400, 6400)), (-750, 750))
    drawn = check(ThreeTubes(kind="three_tubes").fill(rng, space))
    assert len(drawn.truth) == 3
    spans = [np.ptp(drawn.xyz[drawn.structure == i, 2]) for i in range(3)]
    np.testing.assert_allclose(spans, [1410, 540, 410], rtol=0.25)


def test_reticulum_has_tubes_and_sheets(rng):
    drawn = check(Reticulum(kind="reticulum", mesh_um=1, sheet_fraction=0.2).fill(rng, SPACE))
    forms = drawn.truth["form"].to_numpy()
    assert set(forms) == {"tube", "sheet"}
    sheet = forms[drawn.structure] == "sheet"
    assert (np.abs(drawn.normal[sheet, 2]) == 1).all()
    assert SPACE.outline.contains(drawn.xyz[:, :2]).all()
    # three tubes meet at a junction: a network of V junctions has about 3 V / 2 tubes
    tubes = drawn.truth.filter(pl.col("form") == "tube")
    assert tubes["length_nm"].mean() == pytest.approx(1000 * 0.6, rel=0.25)
    assert len(check(Reticulum(kind="reticulum", sheet_fraction=0).fill(rng, SPACE)).truth) > 50


def test_clusters_fill_their_outline(rng):
    drawn = check(
        Clusters(kind="clusters", density_per_um2=100, points_per_cluster=20, fraction_clustered=0.6, dims=3).fill(
            rng, SPACE
        )
    )
    assert len(drawn.xyz) == 10_000
    assert (drawn.structure >= 0).mean() == pytest.approx(0.6)
    centres = drawn.truth.select("x", "y", "z").to_numpy()
    assert np.linalg.norm(drawn.xyz - centres[drawn.structure], axis=1)[drawn.structure >= 0].max() <= 50


def test_uniform_background_and_vesicles(rng):
    drawn = check(Uniform(kind="uniform", density_per_um2=50).fill(rng, SPACE))
    assert len(drawn.xyz) == pytest.approx(5000, abs=4 * np.sqrt(5000))
    assert set(drawn.structure) == {-1}
    assert stats.kstest(drawn.xyz[:, 2], stats.uniform(-300, 600).cdf).pvalue > 0.01
    vesicles = check(
        Vesicles(kind="vesicles", density_per_um2=3, radius_nm=20, epitopes=10, max_dz_nm=100).fill(rng, SPACE)
    )
    centres = vesicles.truth.select("x", "y", "z").to_numpy()
    np.testing.assert_allclose(np.linalg.norm(vesicles.xyz - centres[vesicles.structure], axis=1), 20)
    assert np.abs(centres[:, 2]).max() <= 100


def test_epitopes_from_a_table(rng, tmp_path):
    file = tmp_path / "epitopes.csv"
    file.write_text("x,y,structure\n1,2,7\n3,4,7\n5,6,-1\n7,8,9\n")
    drawn = check(FromTable(kind="table", file=file, scale_nm=100).fill(rng, SPACE))
    assert drawn.xyz.tolist() == [[100, 200, 0], [300, 400, 0], [500, 600, 0], [700, 800, 0]]
    assert drawn.structure.tolist() == [0, 0, -1, 1]
    assert drawn.truth["x"].to_list() == [200, 700]
    assert drawn.truth["source_structure"].to_list() == [7, 9]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("a,b\n1,2\n", ColumnError, "no column x and no column y"),
        ("x,y\n1,\n", ColumnError, "y must hold finite numbers"),
        ("x,y\n1,nan\n", ColumnError, "y must hold finite numbers"),
        ("x,y\none,2\n", ColumnError, "x must hold finite numbers"),
        ("", InputError, "Cannot read epitopes"),
    ],
)
def test_damaged_tables_are_refused(rng, tmp_path, content, error, message):
    file = tmp_path / "epitopes.csv"
    file.write_text(content)
    with pytest.raises(error, match=message):
        FromTable(kind="table", file=file).fill(rng, SPACE)


def test_missing_table_is_refused(rng, tmp_path):
    with pytest.raises(InputError, match="Cannot read epitopes"):
        FromTable(kind="table", file=tmp_path / "none.csv").fill(rng, SPACE)


def test_epitopes_from_a_function(rng, monkeypatch):
    def spiral(rng, space, *, turns):
        angle = np.linspace(0, 2 * np.pi * turns, 100)
        return np.column_stack([angle * np.cos(angle), angle * np.sin(angle)])

    monkeypatch.setattr("lucule.simulate.curves.spiral", spiral, raising=False)
    drawn = check(
        FromFunction(kind="function", function="lucule.simulate.curves:spiral", parameters={"turns": 2}).fill(
            rng, SPACE
        )
    )
    assert len(drawn.xyz) == 100
    assert np.hypot(*drawn.xyz[-1, :2]) == pytest.approx(4 * np.pi)
    with pytest.raises(InputError, match="no such function"):
        FromFunction(kind="function", function="lucule.simulate.curves:missing").fill(rng, SPACE)
    monkeypatch.setattr("lucule.simulate.curves.flat", lambda *_: np.zeros(3), raising=False)
    with pytest.raises(InputError, match="must return positions"):
        FromFunction(kind="function", function="lucule.simulate.curves:flat").fill(rng, SPACE)


def test_epitopes_from_a_density_image(rng, tmp_path):
    density = np.zeros((20, 40))
    density[5, 30] = 1
    density[10, 3] = 3
    np.save(tmp_path / "density.npy", density)
    image = FromImage(kind="image", file=tmp_path / "density.npy", pixel_size_nm=100, epitopes=4000)
    drawn = check(image.fill(rng, SPACE))
    # pixel (5, 30) of an image that is centred in the field of 10 um
    there = (np.abs(drawn.xyz[:, 0] - (5000 + (30.5 - 20) * 100)) < 50) & (
        np.abs(drawn.xyz[:, 1] - (5000 + (5.5 - 10) * 100)) < 50
    )
    assert there.mean() == pytest.approx(0.25, abs=0.03)
    np.save(tmp_path / "density.npy", -density)
    with pytest.raises(InputError, match="no density image"):
        image.fill(rng, SPACE)
    with pytest.raises(InputError, match="Cannot read a density image"):
        FromImage(kind="image", file=tmp_path / "no.tif", pixel_size_nm=100, epitopes=10).fill(rng, SPACE)


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        (Myofibril, {"kind": "myofibril", "line_distance_nm": -1}, "line_distance_nm"),
        (Myofibril, {"kind": "myofibril", "double_lines": 0}, "double_lines"),
        (Myofibril, {"kind": "myofibril", "line_distance_nm": [128, 120]}, "lower value first"),
        (Myofibril, {"kind": "myofibril", "line_distance_nm": {"mean": 10, "sd": 5}}, "line_distance_nm"),
        (RingAxon, {"kind": "ring_axon", "missing": 1.2}, "missing"),
        (NuclearPore, {"kind": "nuclear_pore", "corners": 2}, "corners"),
        (Origami, {"kind": "origami", "spacing": 20}, "spacing is not a known key"),
        (FromFunction, {"kind": "function", "function": "os.system"}, "function"),
        (Spot, {"kind": "spot", "epitopes": "many"}, "epitopes"),
        (Uniform, {"kind": "uniform", "density_per_um2": float("nan")}, "density_per_um2"),
    ],
)
def test_impossible_specimens_are_refused(family, settings, message):
    with pytest.raises(InputError, match=message):
        family.parse(settings)


@pytest.mark.parametrize("arrangement", ["random", "clusters"])
def test_axons_without_rings_have_no_spacing(rng, arrangement):
    axon = RingAxon(
        kind="ring_axon", arrangement=arrangement, length_um=8, persistence_um=1e6, epitopes_per_ring=20, width_nm=2
    )
    drawn = axon.objects(rng, 1)
    assert np.isnan(drawn.truth["mean_spacing_nm"][0])
    # the phase of a period of 190 nm is spread over all directions
    phases = np.exp(2j * np.pi * drawn.xyz[:, 0] / 190)
    assert abs(phases.mean()) < (0.15 if arrangement == "random" else 0.5)


def test_bent_axons_follow_an_arc(rng):
    axon = RingAxon(kind="ring_axon", length_um=6, persistence_um=1e6, bend_radius_um=2, diameter_nm=1, width_nm=0)
    points = axon.objects(rng, 1).xyz[:, :2]
    # all points lie on one circle, whose middle least squares find
    design = np.column_stack([2 * points, np.ones(len(points))])
    x, y, rest = np.linalg.lstsq(design, (points**2).sum(axis=1), rcond=None)[0]
    assert np.sqrt(rest + x * x + y * y) == pytest.approx(2000, rel=0.01)
