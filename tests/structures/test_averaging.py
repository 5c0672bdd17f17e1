"""Registration against the truth of simulated particles; errors that a user can run into."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lucule import structures
from lucule.core import InputError, Localizations
from lucule.structures.averaging import AverageSettings, collect
from lucule.structures.averaging.poses import about_z, of_vectors, random_rotations, space_rotations
from lucule.workflows import averaging

ERROR_NM = 4.0
# an arrow without any symmetry
ARROW = np.array([[0, -60, 0], [0, -20, 0], [0, 20, 0], [0, 60, 0], [25, 35, 0], [-25, 35, 0], [45, 60, 0]], float)
RING = np.column_stack([50 * np.cos(np.arange(8) * np.pi / 4), 50 * np.sin(np.arange(8) * np.pi / 4), np.zeros(8)])
TRIPOD = np.array([[0, 0, 70], [50, 0, -20], [-20, 45, -20], [0, 0, 0], [0, 0, 35], [-10, -40, -30]], float)


def particles(
    structure: np.ndarray, number: int, *, labelled: float, seed: int, space: bool = False, blinks: float = 6.0
) -> tuple[Localizations, np.ndarray]:
    """Turned particles with missing sites and sites that blink unequally; and how they are turned."""
    rng = np.random.default_rng(seed)
    turns = random_rotations(number, rng, flat=not space)
    xyz, owner = [], []
    for k in range(number):
        present = structure[rng.random(len(structure)) < labelled]
        repeated = present.repeat(1 + rng.geometric(1 / blinks, len(present)), axis=0)
        xyz.append(repeated @ turns[k].T + rng.normal(0, ERROR_NM, repeated.shape) + [500.0 * k, 300.0, 0.0])
        owner.append(np.full(len(repeated), k))
    points, group = np.concatenate(xyz), np.concatenate(owner)
    columns: dict[str, Any] = {"x": points[:, 0], "y": points[:, 1], "x_err": np.full(len(points), ERROR_NM),
                               "y_err": np.full(len(points), ERROR_NM), "group": group}  # fmt: skip
    if space:
        columns |= {"z": points[:, 2], "z_err": np.full(len(points), ERROR_NM)}
    return Localizations(columns), turns


def errors_deg(found: structures.Average, turns: np.ndarray, order: int = 1) -> np.ndarray:
    """Angle between the pose of each particle and the truth, up to one pose of all and the symmetry about z."""
    total = found.rotations @ turns[found.particles.ids]
    group = about_z(2 * np.pi * np.arange(order) / order)
    best = np.full(len(total), 180.0)
    for reference in total[:12]:
        # total = reference x element of the group, where all went well
        trace = np.einsum("ji,njk,gki->ng", reference, total, group)
        angle = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1))).min(axis=1)
        best = angle if np.median(angle) < np.median(best) else best
    return best


def test_an_arrow_with_labels_missing() -> None:
    locs, turns = particles(ARROW, 50, labelled=0.8, seed=1)
    found = structures.average(locs, settings=AverageSettings(symmetry="none", starts=1))
    assert np.mean(errors_deg(found, turns) < 10) > 0.85
    assert found.symmetry.order == 1


def test_symmetry_is_found_and_leaves_no_hot_spot() -> None:
    locs, turns = particles(RING, 40, labelled=0.6, seed=2)
    found = structures.average(locs, settings=AverageSettings(starts=1))
    assert found.symmetry.order == 8
    assert np.mean(errors_deg(found, turns, 8) < 11) > 0.95
    points = found.points() - found.symmetry.centre_nm
    angle = np.arctan2(points[:, 1], points[:, 0])
    phase = np.angle(np.exp(8j * angle).sum()) / 8
    corner = np.bincount(np.round((angle - phase) / (np.pi / 4)).astype(int) % 8, found.particles.weight, minlength=8)
    assert corner.max() / np.median(corner) < 1.3


def test_a_wrong_symmetry_is_not_accepted() -> None:
    locs, _ = particles(ARROW, 24, labelled=0.8, seed=3)
    assert structures.average(locs, settings=AverageSettings(starts=1)).symmetry.order == 1
    asked = structures.average(locs, settings=AverageSettings(symmetry=5, starts=1))
    assert asked.symmetry.order == 5
    assert any("do not seem to have it" in warning for warning in asked.warnings)


@pytest.mark.slow
def test_turned_in_space() -> None:
    locs, turns = particles(TRIPOD, 16, labelled=1.0, seed=4, space=True)
    found = structures.average(locs, settings=AverageSettings(symmetry="none", starts=1))
    assert np.mean(errors_deg(found, turns) < 12) > 0.85
    assert {"z", "tilt_deg", "r22"} <= set(found.table().columns)


def test_outliers_are_reported() -> None:
    locs, _ = particles(ARROW, 40, labelled=0.9, seed=5)
    rng = np.random.default_rng(0)
    # particles of the same size without any structure
    wrong = rng.integers(0, 40, 3)
    xy = np.array(locs.xy())
    of = np.isin(locs["group"], wrong)
    xy[of] = [500.0, 300.0] * np.array([[1, 1]]) + rng.uniform(-65, 65, (of.sum(), 2))
    found = structures.average(locs.with_columns(x=xy[:, 0], y=xy[:, 1]), settings=AverageSettings(symmetry="none"))
    flagged = set(found.particles.ids[found.outlier])
    assert set(wrong) <= flagged
    assert len(flagged) <= len(set(wrong)) + 2
    assert not set(structures.aligned(locs, found)["particle"]) & flagged


def without_structure(locs: Localizations, wrong: np.ndarray, seed: int) -> Localizations:
    """The same table with nothing but a round cloud in the particles `wrong`."""
    xy, of = np.array(locs.xy()), np.isin(locs["group"], wrong)
    xy[of] = [500.0, 300.0] * np.array([[1, 1]]) + np.random.default_rng(seed).normal(0, 35, (of.sum(), 2))
    return locs.with_columns(x=xy[:, 0], y=xy[:, 1])


def test_many_particles_without_structure_are_outliers_too() -> None:
    locs, _ = particles(ARROW, 40, labelled=0.9, seed=15)
    wrong = np.arange(0, 40, 2)
    found = structures.average(without_structure(locs, wrong, 1), settings=AverageSettings(symmetry="none", starts=1))
    assert np.mean(found.outlier[np.isin(found.particles.ids, wrong)]) > 0.9
    assert np.mean(found.outlier[~np.isin(found.particles.ids, wrong)]) < 0.1


def test_halves_describe_each_other_only_where_they_have_something_in_common() -> None:
    locs, _ = particles(ARROW, 24, labelled=0.9, seed=16)
    settings = averaging.Settings(symmetry="none", starts=1)
    result = averaging.run(locs, settings)
    assert result.gain is not None
    assert result.gain[0] > 5 * result.gain[1]
    assert not any("in common" in warning for warning in result.warnings)
    result = averaging.run(without_structure(locs, np.arange(24), 2), settings)
    assert result.summary()["half_set_gain"] < 2 * result.summary()["half_set_gain_error"]
    assert any("in common" in warning for warning in result.warnings)


def test_few_particles_tell_no_symmetry() -> None:
    locs, _ = particles(ARROW, 3, labelled=1.0, seed=17)
    result = averaging.run(locs, averaging.Settings(starts=1))
    assert result.average.symmetry.order == 1
    assert any("do not tell a symmetry" in warning for warning in result.warnings)
    assert any("was not checked" in warning for warning in result.warnings)


def test_two_classes_are_told_apart() -> None:
    first, _ = particles(ARROW, 20, labelled=0.9, seed=6)
    second, _ = particles(RING, 20, labelled=0.9, seed=7)
    moved = second.with_columns(group=second["group"] + 20)
    locs = Localizations.concat([first, moved])
    found = structures.average(locs, settings=AverageSettings(symmetry="none", classes=2, starts=1))
    truth = found.particles.ids >= 20
    agree = np.mean(found.class_of == truth)
    assert max(agree, 1 - agree) > 0.9
    said = found.summary()
    assert said["classes"] == 2
    assert sum(said["particles_per_class"]) == said["particles_averaged"] == int((~found.outlier).sum())


def test_without_classes_there_is_one() -> None:
    locs, _ = particles(ARROW, 12, labelled=0.9, seed=8)
    said = structures.average(locs, settings=AverageSettings(symmetry="none", starts=1)).summary()
    assert said["classes"] == 1
    assert said["particles_per_class"] == [said["particles_averaged"]]


def test_particles_of_a_class_of_too_few_are_outliers() -> None:
    first, _ = particles(ARROW, 24, labelled=0.9, seed=6)
    second, _ = particles(RING, 2, labelled=1.0, seed=7)
    locs = Localizations.concat([first, second.with_columns(group=second["group"] + 24)])
    found = structures.average(locs, settings=AverageSettings(symmetry="none", classes=2, starts=1))
    small = found.class_of == 1
    assert 0 < small.sum() < 4
    assert found.outlier[small].all()
    assert found.summary()["classes"] == 1
    assert np.mean(found.main[found.particles.ids < 24]) > 0.8
    assert any("too few to be averaged" in warning for warning in found.warnings)


def test_a_particle_of_very_many_localizations_counts_by_its_sites() -> None:
    rng = np.random.default_rng(18)
    triangle = np.array([[0.0, 0.0], [60.0, 0.0], [0.0, 90.0]])
    xy = np.concatenate([triangle.repeat(5, axis=0), triangle.repeat(10_000, axis=0)])
    group = np.repeat([0, 1], [15, 30_000])
    found = collect(Localizations({"x": xy[:, 0] + rng.normal(0, 3, len(xy)), "y": xy[:, 1] + rng.normal(0, 3, len(xy)),
                                   "x_err": np.full(len(xy), 3.0), "group": group}))  # fmt: skip
    few, many = found.sites
    # sites whose whole spread is seen count a little more
    assert few < many < 2 * few


def test_the_same_seed_gives_the_same_bits() -> None:
    locs, _ = particles(ARROW, 12, labelled=0.9, seed=8)
    settings = AverageSettings(symmetry="none", starts=1)
    a, b = (structures.average(locs, settings=settings, seed=3) for _ in range(2))
    assert (a.rotations == b.rotations).all()
    aligned = structures.aligned(locs, a, outliers=True)
    assert aligned.meta.history[-1].function.endswith("aligned")
    assert len(aligned) == len(locs)


def test_blinking_sites_count_alike() -> None:
    few, many = np.zeros((3, 2)), np.full((300, 2), [100.0, 0.0])
    xy = np.concatenate([few, many] * 2) + np.random.default_rng(1).normal(0, 2, (606, 2))
    locs = Localizations({"x": xy[:, 0], "y": xy[:, 1], "x_err": np.full(606, 2.0), "group": np.arange(606) // 303})
    found = collect(locs)
    left = found.points_nm[:, 0] < 0
    assert found.weight[left].sum() == pytest.approx(found.weight[~left].sum(), rel=0.3)


def test_duplicates_and_localizations_without_error_are_no_trouble() -> None:
    locs, turns = particles(ARROW, 20, labelled=0.9, seed=9)
    doubled = Localizations.concat([locs, locs])
    errors = doubled["x_err"].copy()
    errors[::7] = np.nan
    found = structures.average(doubled.with_columns(x_err=errors), settings=AverageSettings(symmetry="none", starts=1))
    assert np.mean(errors_deg(found, turns) < 10) > 0.85


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        ({"x": [1.0] * 9, "y": [2.0] * 9}, {}, "tells the particles apart"),
        ({"x": [1.0] * 9, "y": [2.0] * 9, "group": [0] * 9}, {"group": "pick"}, "no column pick"),
        ({"x": np.arange(9.0), "y": np.arange(9.0), "group": [0] * 9}, {}, "too few particles"),
        ({"x": np.arange(9.0), "y": np.arange(9.0), "group": [0, 0, 0, 1, 1, 1, 2, 2, 2]}, {}, "too few particles"),
        ({"x": np.arange(10.0) * 1e4, "y": np.arange(10.0), "group": [0] * 5 + [1] * 5}, {}, "far larger"),
        ({"x": [1.0] * 10, "y": [2.0] * 10, "group": [0] * 5 + [1] * 5}, {}, "one place"),
        ({"x": np.arange(10) / 50, "y": np.zeros(10), "group": [0] * 5 + [1] * 5}, {}, "one place"),
        ({"x": np.arange(10.0), "y": np.arange(10.0), "group": [np.inf] + [1.0] * 9}, {}, "whole numbers"),
        ({"x": np.arange(10.0), "y": np.arange(10.0), "group": np.arange(10) / 3}, {}, "whole numbers"),
        ({"x": np.arange(10.0), "y": np.arange(10.0), "group": [0] * 5 + [1] * 5}, {"dimensions": 3}, "positions in z"),
    ],
)  # fmt: skip
def test_what_cannot_be_averaged_says_why(columns, settings, message) -> None:
    with pytest.raises(InputError, match=message):
        structures.average(Localizations(columns), settings=AverageSettings(**settings))


@pytest.mark.parametrize("unit_nm", [1000.0, 100.0, 1e9])
def test_particles_in_another_unit_are_refused(unit_nm) -> None:
    locs, _ = particles(ARROW, 12, labelled=0.9, seed=10)
    smaller = {name: locs[name] / np.float32(unit_nm) for name in ("x", "y", "x_err", "y_err")}
    with pytest.raises(InputError, match="lie at one place"):
        structures.average(locs.with_columns(**smaller), settings=AverageSettings(symmetry="none", starts=1))


def test_particles_of_few_localizations_are_left_out() -> None:
    locs, _ = particles(ARROW, 12, labelled=0.9, seed=10)
    group = locs["group"].copy()
    group[np.flatnonzero(group == 4)[3:]] = -1
    found = structures.average(locs.with_columns(group=group), settings=AverageSettings(symmetry="none", starts=1))
    assert list(found.particles.left_out) == [4]
    assert any("fewer than 4" in warning for warning in found.warnings)


def test_rotations() -> None:
    rng = np.random.default_rng(1)
    grid = space_rotations(20, rng)
    assert np.allclose(grid @ grid.transpose(0, 2, 1), np.eye(3), atol=1e-9)
    for wanted in random_rotations(20, rng):
        trace = np.einsum("ij,nij->n", wanted, grid)
        assert np.degrees(np.arccos(np.clip((trace.max() - 1) / 2, -1, 1))) < 20
    assert (space_rotations(10, rng, 30)[:, 2, 2] >= np.cos(np.radians(30)) - 1e-9).all()
    assert np.allclose(of_vectors(np.array([[0, 0, np.pi / 2]]))[0] @ [1, 0, 0], [0, 1, 0])
