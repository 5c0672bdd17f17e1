"""Linking against the truth: which rows are one blink, and what becomes of their errors and photons."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lucule.core import ColumnError, InputError, Localizations, WorkError
from lucule.process import LinkSettings, blinking, choose_link, join_events, link, mark_events
from lucule.process.linking import CAML, dwell_table

FIXED = LinkSettings(radius_nm=50, gap_frames=1)


def blinks(n=3000, seed=1, sigma=4.0, frames=4000, size=40_000.0, miss=0.1, per_molecule=1, dims=2):
    """Molecules far apart, on for a geometric number of frames, some missed; and which blink each row is."""
    rng = np.random.default_rng(seed)
    grid = int(np.ceil(np.sqrt(n)))
    place = np.stack(np.meshgrid(np.arange(grid), np.arange(grid)), -1).reshape(-1, 2)[:n] * (size / grid)
    rows, event, number = [], [], 0
    for m in range(n):
        start = int(rng.integers(0, 200))
        for _ in range(per_molecule):
            length = int(rng.geometric(0.3))
            seen = [f for f in range(start, start + length) if f in (start, start + length - 1) or rng.random() > miss]
            # a miss of two frames in a row would be two blinks for a gap of one
            if np.any(np.diff(seen) > 2):
                seen = list(range(start, start + length))
            rows += [(f, m) for f in seen]
            event += [number] * len(seen)
            number += 1
            start += length + int(rng.integers(40, 400))
    frame, molecule = np.array(rows).T
    xyz = np.column_stack([place[molecule], np.zeros(len(molecule))])[:, :dims]
    errors = sigma * np.exp(rng.normal(0, 0.3, len(frame)))
    xyz = xyz + rng.normal(0, 1, xyz.shape) * errors[:, None]
    data = {"frame": frame, "photons": rng.uniform(500, 2000, len(frame)), "molecule": molecule}
    for i, axis in enumerate("xyz"[:dims]):
        data |= {axis: xyz[:, i], f"{axis}_err": errors}
    return Localizations(data), np.array(event), place


def same_partition(a, b) -> bool:
    pairs = np.unique(np.column_stack([a, b]), axis=0)
    return len(pairs) == len(np.unique(a)) == len(np.unique(b))


@pytest.mark.parametrize("dims", [2, 3])
def test_exact_recovery(dims) -> None:
    locs, event, _ = blinks(per_molecule=3, dims=dims, n=1500)
    assert same_partition(mark_events(locs, settings=FIXED)["event"], event)


def test_exact_recovery_with_choices_from_the_data() -> None:
    locs, event, _ = blinks(per_molecule=2)
    found = mark_events(locs)["event"]
    choice = choose_link(locs)
    assert choice.gap_frames >= 1
    assert 3 * 4 < choice.radius_nm < 60
    # three errors of the difference lose one pair in ninety
    assert len(np.unique(found)) == pytest.approx(len(np.unique(event)), rel=0.04)


def test_the_order_of_rows_does_not_matter() -> None:
    locs, _, _ = blinks(n=800)
    locs = locs.with_columns(row=np.arange(len(locs)))
    first = mark_events(locs, settings=FIXED)
    mixed = mark_events(Localizations(locs.data.sample(fraction=1, shuffle=True, seed=3)), settings=FIXED)
    again = mixed.data.sort("row")
    np.testing.assert_array_equal(again["event"].to_numpy(), first["event"])


def test_two_near_molecules_are_kept_apart_by_the_nearest_pair() -> None:
    """Both are within the radius of both; the pairs nearest to each other belong together."""
    frame = np.repeat(np.arange(10), 2)
    x = np.tile([0.0, 30.0], 10) + np.linspace(0, 1, 20)
    found = mark_events(Localizations({"frame": frame, "x": x, "y": np.zeros(20)}), settings=FIXED)["event"]
    assert same_partition(found, np.tile([0, 1], 10))


def test_a_dark_time_is_bridged_up_to_its_length() -> None:
    for dark, blinks_seen in ((0, 1), (1, 1), (2, 2)):
        table = Localizations({"frame": [5, 6 + dark], "x": [0.0, 1.0], "y": [0.0, 0.0]})
        assert len(link(table, settings=FIXED)) == blinks_seen
    caml = Localizations({"frame": [0, 26, 60], "x": [0.0, 49.0, 49.0], "y": [0.0] * 3})
    assert link(caml, settings=CAML)["n_frames"].tolist() == [2, 1]


def test_errors_and_photons_are_combined_as_statistics_say() -> None:
    locs, event, place = blinks(n=3000, sigma=10)
    linked = link(locs, settings=FIXED)
    assert linked["photons"].sum() == pytest.approx(locs["photons"].sum(), rel=1e-5)
    first = np.flatnonzero(event == 0)
    expected = 1 / np.sqrt(np.sum(1 / locs["x_err"][first].astype(float) ** 2))
    at = int(np.flatnonzero(linked["molecule"] == 0)[0])
    assert linked["x_err"][at] == pytest.approx(expected, rel=1e-5)
    weights = 1 / locs["x_err"][first].astype(float) ** 2
    assert linked["x"][at] == pytest.approx(np.sum(weights * locs["x"][first]) / weights.sum(), abs=1e-2)
    pull = (linked["x"] - place[linked["molecule"], 0]) / linked["x_err"]
    assert np.std(pull) == pytest.approx(1, abs=0.05)  # the errors of the linked table are right
    assert linked["n_frames"].sum() == len(locs)
    assert len(linked.meta.history) == len(locs.meta.history) + 1


def test_unweighted_without_errors_and_the_brightest_decides_about_classes() -> None:
    table = Localizations({"frame": [0, 1], "x": [0.0, 10.0], "y": [0.0, 0.0], "photons": [100.0, 300.0],
                           "label": [2, 7], "sigma_x": [100.0, 140.0], "background": [10.0, 30.0],
                           "p": [0.5, 0.9]})  # fmt: skip
    linked = link(table, settings=FIXED)
    assert linked["x"].tolist() == [5.0]
    assert linked["label"].tolist() == [7]
    assert linked["sigma_x"].tolist() == [130.0]
    assert linked["background"].tolist() == [20.0]
    assert linked["p"].tolist() == pytest.approx([0.9])
    assert linked["last_frame"].tolist() == [1]


def test_missing_errors_count_least() -> None:
    table = Localizations({"frame": [0, 1, 9], "x": [0.0, 10.0, 900.0], "y": [0.0] * 3, "x_err": [1.0, np.nan, np.nan],
                           "y_err": [1.0, np.nan, np.nan]})  # fmt: skip
    linked = link(table, settings=FIXED)
    assert linked["x"][0] == pytest.approx(5.0)
    assert np.isfinite(linked["x_err"][0])
    assert np.isnan(linked["x_err"][1])


def test_channels_and_fields_are_never_joined() -> None:
    for name in ("channel", "field"):
        table = Localizations({"frame": [0, 1], "x": [0.0, 0.0], "y": [0.0, 0.0], name: [0, 1]})
        assert len(link(table, settings=FIXED)) == 2


def test_empty_one_and_identical_rows() -> None:
    empty = link(Localizations({"frame": [], "x": [], "y": []}), settings=FIXED)
    assert len(empty) == 0
    assert {"n_frames", "last_frame", "event"} <= set(empty.columns)
    assert len(link(Localizations({"frame": [3], "x": [1.0], "y": [2.0]}), settings=FIXED)) == 1
    same = Localizations({"frame": np.zeros(200), "x": np.full(200, 5.0), "y": np.full(200, 5.0)})
    assert len(link(same, settings=FIXED)) == 200  # one frame: as many molecules


def test_bad_requests() -> None:
    with pytest.raises(ColumnError, match="frame"):
        link(Localizations({"x": [1.0], "y": [1.0]}), settings=FIXED)
    with pytest.raises(WorkError, match="radius"):
        link(Localizations({"frame": np.arange(50) * 3, "x": np.arange(50) * 900.0, "y": np.zeros(50)}))
    with pytest.raises(InputError):
        LinkSettings.parse({"radius_nm": -1})
    with pytest.raises(ColumnError, match="not linked"):
        blinking(Localizations({"x": [1.0], "y": [1.0]}))


def test_statistics_of_switching() -> None:
    locs, _, _ = blinks(per_molecule=1, n=2500)
    found = blinking(link(locs, settings=FIXED))
    assert found.on_frames == pytest.approx(1 / 0.3, rel=0.05)
    low, high = found.on_frames_interval
    assert low < 1 / 0.3 < high
    assert found.events_per_molecule == pytest.approx(1, abs=0.02)
    assert found.molecules == pytest.approx(2500, rel=0.02)
    assert dwell_table(link(locs, settings=FIXED))["blinks"].sum() == 2500


def test_counts_are_corrected_for_repeated_blinks() -> None:
    """Numbers of blinks are geometric, as for a dye that bleaches with the same probability after each blink."""
    rng = np.random.default_rng(8)
    molecules, mean = 4000, 4.0
    times = rng.geometric(1 / mean, molecules)
    at = rng.uniform(0, 100_000, (molecules, 2)).repeat(times, axis=0)
    n = len(at)
    xy = at + rng.normal(0, 8, at.shape)
    linked = Localizations({"frame": rng.integers(0, 50_000, n), "x": xy[:, 0], "y": xy[:, 1], "x_err": np.full(n, 8.0),
                            "y_err": np.full(n, 8.0), "n_frames": np.ones(n)})  # fmt: skip
    linked = linked.with_columns(last_frame=linked["frame"])
    found = blinking(linked)
    assert found.events_per_molecule == pytest.approx(mean, rel=0.08)
    low, high = found.events_per_molecule_interval
    assert low < found.events_per_molecule < high
    assert found.molecules == pytest.approx(molecules, rel=0.1)
    assert blinking(linked, events_per_molecule=2.0).molecules == n / 2
    with pytest.raises(InputError, match="1 or more"):
        blinking(linked, events_per_molecule=0.5)


def test_simulated_pores(pores) -> None:
    """Linked errors stay right, and nearly as many blinks are found as were seen."""
    locs, _ = pores
    true = locs.filter("emitters == 1")
    linked = link(true)
    assert len(linked) == pytest.approx(true["event"].max() and len(np.unique(true["event"])), rel=0.15)
    assert isinstance(linked.data, pl.DataFrame)


def test_joining_marked_blinks_is_linking():
    locs = Localizations({"frame": [0, 1, 2, 9], "x": [10.0, 12.0, 14.0, 500.0], "y": [0.0] * 4, "photons": [1.0] * 4})
    settings = LinkSettings(radius_nm=20, gap_frames=0)
    joined = join_events(mark_events(locs, settings=settings))
    assert joined.data.equals(link(locs, settings=settings).data)
    with pytest.raises(ColumnError, match="event"):
        join_events(locs)


def test_frames_that_rows_share_count_once() -> None:
    """Three rows that each hold what all three frames say are no better together than one of them."""
    row = {"y": 0.0, "photons": 100.0, "y_err": 2.0}
    locs = Localizations(
        pl.DataFrame(
            [{"frame": f, "x": x, "x_err": 2.0, "n_shared": 3, **row} for f, x in enumerate((10.0, 10.5, 11.0))]
            # four rows, each of its own frame
            + [{"frame": f, "x": 900.0, "x_err": 2.0, "n_shared": 1, **row} for f in range(4)]
            # the only one left of three
            + [{"frame": 0, "x": 1900.0, "x_err": 2.0, "n_shared": 3, **row}]
            # ten in a row, of three to five frames each
            + [
                {"frame": f, "x": 2900.0, "x_err": 6 / np.sqrt(n), "n_shared": n, **row}
                for f, n in enumerate((3, 4, 5, 5, 5, 5, 5, 5, 4, 3))
            ]
        )
    )
    joined = link(locs, settings=FIXED).data.sort("x")
    assert joined["x"].to_list() == pytest.approx([10.5, 900, 1900, 2900])
    assert joined["x_err"].to_list() == pytest.approx([2.0, 1.0, 2.0, 6 / np.sqrt(10)])
    assert joined["n_frames"].to_list() == [3, 4, 1, 10]
    assert "n_shared" not in joined.columns
    none = Localizations(locs.data.head(0), locs.meta)
    assert "n_shared" not in link(none, settings=FIXED)
