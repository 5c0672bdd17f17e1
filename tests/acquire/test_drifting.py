"""A slide that creeps: told by the simulated one, taken off a field, and left on where it cannot be followed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("pymmcore_plus")

from lucule.acquire.drifting import without_drift
from lucule.acquire.microscope import Microscope
from lucule.acquire.plan import Stitching
from lucule.acquire.stitching import corrections
from lucule.core import Localizations, Meta

FRAMES = 500


def movie(seed: int, path: np.ndarray, *, places: np.ndarray, corner: tuple[float, float] = (0, 0)) -> Localizations:
    """Molecules seen by a field while the sample moves along `path` (frames, 2)."""
    rng = np.random.default_rng(seed)
    frame = np.sort(rng.integers(0, FRAMES, 6000))
    xy = places[rng.integers(0, len(places), 6000)] + path[frame] - corner + rng.normal(0, 8, (6000, 2))
    inside = ((xy >= 0) & (xy < 6400)).all(axis=1)
    meta = Meta(shape_px=(64, 64), pixel_size_nm=100.0, n_frames=FRAMES, origin_nm=(*corner, 0.0))
    return Localizations({"x": xy[inside, 0], "y": xy[inside, 1], "frame": frame[inside]}, meta)


@pytest.fixture
def places() -> np.ndarray:
    return np.random.default_rng(5).uniform(0, 11_000, (700, 2))


def test_the_simulated_slide_creeps_by_its_seed(small: Callable[..., Microscope]) -> None:
    first, again = (small(**{"Slide-Drift_nm_per_min": 200.0}).specimen for _ in range(2))
    assert first is not None
    assert again is not None
    times = np.arange(0, 20_000, 60.0)
    path = np.array([first.drift_um(time) for time in times])
    # asked for in another order, it is the same
    assert (np.array([again.drift_um(time) for time in times[::-1]])[::-1] == path).all()
    assert (path[0] == 0).all()
    assert np.diff(path, axis=0).std() == pytest.approx(0.2, rel=0.1)
    assert np.abs(first.drift_um(60.5) - (first.drift_um(60) + first.drift_um(61)) / 2).max() < 1e-12
    # what is looked at moves with it; the stage knows nothing
    before = np.array(first.centre_um)
    first.molecules.wait(300)
    assert np.array(first.centre_um) - before == pytest.approx(first.drift_um(first.molecules.time_s))
    assert first.xy_um == (0.0, 0.0)


@pytest.mark.parametrize("as_at", ["start", "end"])
def test_a_field_lies_as_it_lay_at_one_instant(places: np.ndarray, as_at: str) -> None:
    path = np.linspace((0, 0), (150, -80), FRAMES)
    locs = movie(1, path, places=places)
    still, drift = without_drift(locs, as_at=as_at)  # type: ignore[arg-type]
    assert drift.note is None
    assert (drift.x_nm, drift.y_nm) == pytest.approx((150, 80), abs=15)
    moved = locs.xy() - still.xy()
    instant = path[0] if as_at == "start" else path[-1]
    left = moved - (path[locs["frame"]] - instant)
    assert (left - left.mean(axis=0)).std() < 3
    # of the instant itself, only the few frames around it know
    assert np.abs(left.mean(axis=0)).max() < 6
    assert still.meta.history[-1].function.endswith("apply_drift")


def test_what_does_not_drift_is_left_alone(places: np.ndarray) -> None:
    locs = movie(2, np.zeros((FRAMES, 2)), places=places)
    still, drift = without_drift(locs, as_at="end")
    assert still is locs
    assert "not larger than its error" in str(drift.note)
    few = locs.filter("frame < 5")
    assert without_drift(few, as_at="end")[0] is few
    assert "too few localizations" in str(without_drift(few, as_at="end")[1].note)


def test_fields_that_drifted_fit_together_only_without_it(places: np.ndarray) -> None:
    """The slide creeps on from field to field; between two of them nothing is known but what the overlap says."""
    rng = np.random.default_rng(3)
    path = np.cumsum(rng.normal(0, 1.5, (4 * FRAMES, 2)), axis=0)
    corners = [(0.0, 0.0), (5000.0, 0.0), (0.0, 5000.0), (5000.0, 5000.0)]
    parts = [path[FRAMES * number : FRAMES * (number + 1)] for number in range(4)]
    fields = [
        movie(number, part, places=places, corner=corner)
        for number, (part, corner) in enumerate(zip(parts, corners, strict=True))
    ]

    def error_nm(drifting: bool) -> float:
        tables = fields if drifting else [without_drift(field, as_at="end")[0] for field in fields]
        found = corrections(tables, Stitching())
        left = [
            part[field["frame"]] - (field.xy() - table.xy()) - nm
            for part, field, table, nm in zip(parts, fields, tables, found.nm, strict=True)
        ]
        together = np.vstack(left)
        return float(np.sqrt(np.square(together - together.mean(axis=0)).sum(axis=1).mean()))

    assert error_nm(drifting=True) > 10
    assert error_nm(drifting=False) < 4
