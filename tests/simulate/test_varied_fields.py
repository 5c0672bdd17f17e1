import numpy as np
import pytest

from lucule.core import InputError
from lucule.simulate.field_background import draw, place, window
from lucule.simulate.field_blinking import Blinking, blink
from lucule.simulate.field_shapes import around, content
from lucule.simulate.varied_fields import (
    CLASSES,
    FAMILIES,
    FEWEST_MOLECULES,
    LABELS,
    FieldFamily,
    linked,
    varied_field,
)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_family_gives_fields_that_hold_together(family, seed):
    field = varied_field(family, seed=seed)
    n = len(field)
    assert all(len(column) == n for column in (field.frame, field.error, field.photons, field.molecule, field.cluster))
    assert np.isfinite(field.points).all()
    assert ((field.cluster >= 0) == (field.label > 0)).all()
    assert field.label.max(initial=0) < len(CLASSES)
    assert (field.error > 0).all()
    for cluster in np.unique(field.cluster[field.cluster >= 0]):
        assert len(np.unique(field.molecule[field.cluster == cluster])) >= FEWEST_MOLECULES
        assert len(np.unique(field.label[field.cluster == cluster])) == 1
    for molecule in np.unique(field.molecule)[:50]:  # a molecule is in one structure or in none
        assert len(np.unique(field.cluster[field.molecule == molecule])) == 1


def test_the_same_seed_gives_the_same_bits():
    one, two, other = (varied_field("mixed", seed=seed) for seed in ((7, 1), (7, 1), (7, 2)))
    assert one.points.tobytes() == two.points.tobytes()
    assert one.cluster.tobytes() == two.cluster.tobytes()
    assert one.points.tobytes() != other.points.tobytes()


def test_fields_without_clusters_are_random():
    for seed in range(5):
        assert (varied_field("random", seed=seed).cluster == -1).all()


def test_density_is_within_the_limits():
    family = FAMILIES["discs"].replace(density_per_um2=(100, 200), blinks=(1, 1), field_without_clusters=0)
    densities = []
    for seed in range(20):
        field = varied_field(family, seed=seed)
        area = np.prod(field.points.max(axis=0) - field.points.min(axis=0)) * 1e-6
        densities.append(len(field) / area)
    assert 100 < np.median(densities) < 200  # single fields differ: few clusters, some cut off, Poisson numbers


def test_blinking_can_be_asked_for_and_switched_off():
    for seed in range(5):
        field = varied_field(FAMILIES["mixed"].without_blinking(), seed=seed)
        assert len(np.unique(field.molecule)) == len(field)
        blinking = varied_field(FAMILIES["mixed"].always_blinking(), seed=seed)
        assert len(blinking) / len(np.unique(blinking.molecule)) > 1.3


def test_a_table_carries_the_truth():
    table = varied_field("three_d", seed=4).table()
    assert {"x", "y", "z", "z_err", "frame", "true_cluster", "true_label", "molecule"} <= set(table.columns)


@pytest.mark.parametrize("seed", [47, 95, 243])
def test_rare_plans_of_sparse_blinking_fields_are_found(seed):
    # a training that draws thousands of fields must not end at one of them
    assert len(varied_field(FAMILIES["sparse"].always_blinking(), seed=seed)) > 100


def test_errors():
    with pytest.raises(InputError, match="no such family"):
        varied_field("nosuch", seed=1)
    with pytest.raises(InputError, match="contradict"):
        varied_field(FieldFamily(localizations=(10, 11), points_per_cluster=(1000, 2000)), seed=1)
    with pytest.raises(InputError, match="smaller first"):
        FieldFamily.parse({"radius_nm": (50, 5)})


@pytest.mark.parametrize("shape", LABELS)
@pytest.mark.parametrize("dims", [2, 3])
def test_shapes_have_their_size(shape, dims):
    rng = np.random.default_rng(1)
    n = 20_000
    offsets = around(rng, shape, np.zeros(n, np.int64), np.array([100.0]), np.array([2000.0]), dims)
    assert dims == 3 or not offsets[:, 2].any()
    gyration = np.sqrt((offsets**2).sum(axis=1).mean())
    expected = {"disc": np.sqrt(dims / (dims + 2)) * 100, "gaussian": np.sqrt(dims) * 50, "ring": 100.0}
    if shape in expected:
        assert gyration == pytest.approx(expected[shape], rel=0.03)
    if shape == "fibre":
        assert gyration > 200
    assert content(shape, 100, 2000, 0, dims) > 0


def test_molecules_are_seen_as_often_as_asked():
    who, frame = blink(np.random.default_rng(2), 20_000, Blinking(6, 10**7, 0.5, 20, bleaching=False))
    times = np.bincount(who)
    assert times.min() >= 1
    assert times.mean() == pytest.approx(6, rel=0.03)
    order = np.lexsort((frame, who))
    gaps = np.diff(frame[order])[np.diff(who[order]) == 0]
    assert gaps.min() >= 1  # never twice in a frame
    assert np.mean(gaps == 1) == pytest.approx(0.5 + 0.5 * (1 - np.exp(-1 / 20)), abs=0.02)


@pytest.mark.parametrize("outline", ["square", "cell", "holes"])
def test_windows_have_their_area(outline):
    rng = np.random.default_rng(3)
    for _ in range(5):
        drawn = window(rng, 25e6, outline)
        tried = rng.random((200_000, 2)) * drawn.side_nm
        assert drawn.holds(tried).mean() * drawn.side_nm**2 == pytest.approx(25e6, rel=0.05)


@pytest.mark.parametrize("background", ["uniform", "gradient", "patches"])
def test_backgrounds_lie_inside(background):
    rng = np.random.default_rng(4)
    drawn = window(rng, 25e6, "holes")
    points = draw(rng, drawn, 5000, background)
    assert len(points) == 5000
    assert drawn.holds(points).all()
    counts = np.histogram2d(*points.T, bins=6, range=[[0, drawn.side_nm]] * 2)[0]
    if background == "gradient":
        assert counts.max() > 3 * np.median(counts[counts > 0]) / 2


def test_structures_keep_their_distance():
    rng = np.random.default_rng(5)
    drawn = window(rng, 25e6, "square")
    centres = place(rng, drawn, np.full(60, 150.0), beside=0.5)
    placed = centres[np.isfinite(centres[:, 0])]
    apart = np.linalg.norm(placed[:, None] - placed[None], axis=2) + np.eye(len(placed)) * 1e9
    assert len(placed) > 50
    assert apart.min() >= 300
    assert (apart.min(axis=1) < 365).mean() > 0.3  # half of them lie right beside another


def test_structures_of_an_unequal_field_differ_more_than_chance_makes_them():
    """Numbers of localizations, in the plane: the ninth decile is several times the first."""
    ratio = {}
    for name in ("unequal", "caml"):
        family = FAMILIES[name].without_blinking().replace(
            structures=(40, 60), points_per_cluster=(40, 60), radius_nm=(20, 40), field_without_clusters=0,
            outlines=("square",), fraction_3d=0,
        )  # fmt: skip
        sizes = [np.bincount(f.cluster[f.cluster >= 0]) for f in (varied_field(family, seed=k) for k in range(12))]
        ratio[name] = np.median([np.quantile(n, 0.9) / np.quantile(n[n > 0], 0.1) for n in sizes])
    assert ratio["caml"] < 1.8
    assert ratio["unequal"] > 3


def test_a_second_population_has_a_size_and_a_shape_of_its_own():
    family = FAMILIES["unequal"].without_blinking().replace(
        shapes=("disc", "fibre"), second_population=1, field_without_clusters=0, fraction_3d=0
    )  # fmt: skip
    both = [set(np.unique(varied_field(family, seed=k).label)) >= {1, 2} for k in range(30)]
    one = [set(np.unique(varied_field(family.replace(second_population=0), seed=k).label)) >= {1, 2} for k in range(30)]
    assert sum(both) >= 8
    assert not any(one)


def test_linking_without_a_fault_keeps_molecules_and_light():
    field = next(f for s in range(50) if len(f := varied_field("mixed", seed=(4, s))) > 2 * len(np.unique(f.molecule)))
    every = linked(field, np.inf)
    assert len(every) == len(np.unique(field.molecule)) == len(np.unique(every.molecule))
    assert np.isclose(every.photons.sum(), field.photons.sum(), rtol=1e-4)
    some = linked(field, 10)
    assert len(every) < len(some) < len(field)
    one = field.molecule == every.molecule[0]
    weight = field.error[one].astype(float) ** -2
    assert np.allclose(every.points[0], (weight * field.points[one]).sum(0) / weight.sum(0), atol=0.01)
    assert np.allclose(every.error[0], weight.sum(0) ** -0.5)
    assert every.frame[0] == field.frame[one].min()
    assert every.cluster[0] == field.cluster[one][0]
    gaps = np.diff(np.sort(some.frame[some.molecule == some.molecule[0]].astype(int)))
    assert (gaps > 11).all() or len(gaps) == 0
