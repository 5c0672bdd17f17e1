"""Photophysics against what is known about Markov chains: dwell times, blinks, duty cycles, photons, ramps."""

from __future__ import annotations

import numba
import numpy as np
import polars as pl
import pytest
from scipy import stats

from lucule.core import ColumnError, InputError
from lucule.simulate.chain import Dyes, Events
from lucule.simulate.dye import dyes, load_dye
from lucule.simulate.photophysics import Blinking, blink, collect

RATE = {"kind": "rate", "photons_per_s": 1000.0}
SWITCHING = {"kind": "switching", "on_time_s": 0.03, "off_time_s": 0.8, "photons": RATE}


def at_origin(n):
    zero = np.zeros(n)
    return Dyes(pl.DataFrame({"x": zero, "y": zero, "z": zero, "epitope": zero, "structure": zero, "label": zero}))


def durations(events):
    return events["end_s"] - events["start_s"]


@pytest.mark.parametrize("name", dyes())
def test_packaged_dyes_blink_and_name_their_source(name):
    dye = load_dye(name)
    assert dye.source
    assert dye.emission_nm > 400
    assert len(blink(300, name, duration_s=200, seed=1)) > 50


def test_on_and_off_times_are_exponential():
    events = blink(20_000, load_dye(SWITCHING), duration_s=8.0, seed=2)
    starts, ends, molecule = events["start_s"], events["end_s"], events["molecule"]
    # dwell times that begin early: hardly any is cut off by the end of the acquisition
    early = starts < 7.0
    assert stats.kstest(durations(events)[early], stats.expon(scale=0.03).cdf).pvalue > 0.01
    first = np.flatnonzero(np.append(True, molecule[1:] != molecule[:-1]))
    # the first OFF period, given that it ended: exponential, truncated at the end of the acquisition
    waited = stats.truncexpon(b=8.0 / 0.8, scale=0.8)
    assert stats.kstest(starts[first], waited.cdf).pvalue > 0.01
    same = (molecule[1:] == molecule[:-1]) & (ends[:-1] < 1.0)
    assert stats.kstest((starts[1:] - ends[:-1])[same], stats.expon(scale=0.8).cdf).pvalue > 0.01


def test_number_of_cycles_is_geometric():
    dye = load_dye(SWITCHING | {"off_time_s": 0.05, "cycles": 5})
    counts = np.bincount(blink(20_000, dye, duration_s=60.0, seed=3)["molecule"], minlength=20_000)
    observed = np.bincount(counts, minlength=40)[1:25]
    expected = 20_000 * stats.geom(1 / 5).pmf(np.arange(1, 25))
    assert (
        stats.chisquare(
            np.append(observed, 20_000 - observed.sum()), np.append(expected, 20_000 - expected.sum())
        ).pvalue
        > 0.01
    )


def test_duty_cycle_in_equilibrium():
    dye = load_dye(SWITCHING | {"initial": "equilibrium"})
    events = blink(20_000, dye, duration_s=20.0, seed=4)
    assert durations(events).sum() / (20_000 * 20.0) == pytest.approx(0.03 / 0.83, rel=0.01)
    starts = at_time(events, 0.0)
    assert starts == pytest.approx(20_000 * 0.03 / 0.83, abs=4 * np.sqrt(750))


def at_time(events, t):
    return int(((events["start_s"] <= t) & (events["end_s"] > t)).sum())


def test_bleaching_in_time_follows_its_constant():
    dye = load_dye(SWITCHING | {"off_time_s": 0.2, "bleach_time_s": 3.0})
    events = blink(40_000, dye, duration_s=10.0, seed=5)
    # the number of ON molecules falls as exp(-t / 3 s)
    early, late = (((events["start_s"] > t) & (events["start_s"] < t + 0.5)).sum() for t in (1.0, 7.0))
    assert np.log(early / late) == pytest.approx(6.0 / 3.0, rel=0.05)


def test_dark_state_between_blinks():
    dye = load_dye(SWITCHING | {"off_time_s": 5000.0, "initial": "on", "dark_fraction": 0.5, "dark_time_s": 0.1})
    events = blink(20_000, dye, duration_s=20.0, seed=6)
    gaps = (events["start_s"][1:] - events["end_s"][:-1])[events["molecule"][1:] == events["molecule"][:-1]]
    short = gaps[gaps < 1.0]
    assert np.mean(short) == pytest.approx(0.1, rel=0.03)
    assert len(short) / len(events) == pytest.approx(0.5, abs=0.02)


def test_chain_of_any_states_reaches_its_equilibrium():
    dye = load_dye({
        "kind": "markov", "photons": RATE, "brightness": {"a": 0, "b": 1, "c": 0}, "initial": {"a": 1},
        "rates": [{"start": "a", "end": "b", "per_s": 2}, {"start": "b", "end": "c", "per_s": 5},
                  {"start": "c", "end": "a", "per_s": 10}, {"start": "b", "end": "a", "per_s": 1}],
    })  # fmt: skip
    events = blink(20_000, dye, duration_s=10.0, seed=7)
    # balance: pa 2 = pb + 10 pc, pb 6 = pa 2, so pb = pa / 3 and pc = pa / 6
    assert at_time(events, 9.5) / 20_000 == pytest.approx((1 / 3) / (1 + 1 / 3 + 1 / 6), abs=0.012)
    assert load_dye(dye.model_dump() | {"initial": "equilibrium"}).compiled().initial.tolist() == pytest.approx(
        [2 / 3, 8 / 9, 1]
    )


def test_activation_ramp_is_exact():
    """With a rate k t and no return, the time of activation has the distribution 1 - exp(-k t^2 / 2)."""
    dye = load_dye({"kind": "activated", "activation_per_s": 0.1, "on_time_s": 0.01, "photons": RATE,
                    "schedules": {"activation": [[0, 0], [10, 10], [40, 40]]}})  # fmt: skip
    starts = blink(20_000, dye, duration_s=40.0, seed=8)["start_s"]
    assert stats.kstest(starts, lambda t: 1 - np.exp(-0.1 * t**2 / 2)).pvalue > 0.01


def test_activation_pulse_confines_activation():
    dye = load_dye({"kind": "activated", "activation_per_s": 1.0, "on_time_s": 0.01, "photons": RATE,
                    "schedules": {"activation": [[0, 0], [5, 0], [5, 2], [6, 2], [6, 0]]}})  # fmt: skip
    starts = blink(20_000, dye, duration_s=40.0, seed=9)["start_s"]
    assert 5 <= starts.min() < starts.max() <= 6
    assert len(starts) / 20_000 == pytest.approx(1 - np.exp(-2), abs=0.012)
    assert stats.kstest(starts - 5, stats.truncexpon(b=2, scale=0.5).cdf).pvalue > 0.01


def test_schedule_that_stays_at_one_changes_nothing_but_rounding():
    plain = blink(500, load_dye(SWITCHING), duration_s=30, seed=1)
    flat = blink(
        500, load_dye(SWITCHING | {"schedules": {"activation": [[0, 1], [7, 1], [20, 1]]}}), duration_s=30, seed=1
    )
    assert len(plain) == len(flat)
    np.testing.assert_allclose(plain["start_s"], flat["start_s"], rtol=1e-9)


def test_single_shot_palm_appears_once():
    events = blink(5000, "palm_single_shot", duration_s=3000, seed=1)
    assert np.bincount(events["molecule"]).max() == 1
    assert len(events) > 4990


def test_palm_blinks_and_efficiency():
    dye = load_dye("meos32", activation_per_s=1.0, blinks=2.0, efficiency=0.6)
    counts = np.bincount(blink(20_000, dye, duration_s=60, seed=2)["molecule"], minlength=20_000)
    assert (counts > 0).mean() == pytest.approx(0.6, abs=0.012)
    assert counts[counts > 0].mean() == pytest.approx(3.0, rel=0.03)


def test_paint_kinetics():
    dye = load_dye("paint_imager", concentration_nM=50)
    assert dye.dark_time_s == pytest.approx(12.5)
    events = blink(5000, dye, duration_s=200, seed=3)
    assert durations(events)[events["end_s"] < 190].mean() == pytest.approx(0.5, rel=0.02)
    assert len(events) / 5000 == pytest.approx(200 / 13.0, rel=0.02)
    lossy = blink(5000, load_dye("paint_imager", concentration_nM=500, site_loss=0.2), duration_s=200, seed=3)
    assert len(lossy) / 5000 == pytest.approx(5.0, rel=0.05)


def test_photons_at_a_rate_are_exponential():
    photons = blink(20_000, load_dye(SWITCHING), duration_s=4, seed=1)["photons"]
    assert stats.kstest(photons[: len(photons) // 2], stats.expon(scale=30).cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("photons", "mean", "cv"),
    [
        ({"kind": "lognormal", "mean_photons": 4000, "event_cv": 0.5}, 4000, 0.5),
        ({"kind": "lognormal", "mean_photons": 4000, "event_cv": 0.3, "molecule_cv": 0.4}, 4000, 0.512),
        ({"kind": "measured", "values": [100, 300, 200]}, 200, 0.2887),
    ],
)
def test_photons_per_on_period(photons, mean, cv):
    events = blink(20_000, load_dye(SWITCHING | {"photons": photons}), duration_s=8, seed=1)
    whole = events["photons"][events["end_s"] < 8]
    assert whole.mean() == pytest.approx(mean, rel=0.02)
    assert whole.std() / whole.mean() == pytest.approx(cv, rel=0.05)


def test_measured_photons_from_a_file(tmp_path):
    file = tmp_path / "photons.csv"
    file.write_text("photons\n10\n20\n")
    dye = load_dye(SWITCHING | {"photons": {"kind": "measured", "file": str(file)}})
    assert blink(10, dye, duration_s=1000, seed=1)["photons"][1:5].min() >= 10
    file.write_text("n\n10\n")
    with pytest.raises(ColumnError, match="no column photons"):
        blink(10, dye, duration_s=10, seed=1)
    file.write_text("photons\n-1\n")
    with pytest.raises(ColumnError, match="from 0"):
        blink(10, dye, duration_s=10, seed=1)


def test_frames_collect_all_photons():
    events = blink(2000, load_dye(SWITCHING), duration_s=10.0, seed=1)
    emitters = collect(events, at_origin(2000), frames=500, interval_s=0.02)
    collected = np.bincount(emitters["event"], emitters["photons"], minlength=len(events))
    np.testing.assert_allclose(collected, events["photons"], rtol=1e-9)
    assert (np.diff(emitters["frame"].astype(np.int64)) >= 0).all()


def test_frames_miss_what_falls_between_exposures():
    events = blink(4000, load_dye(SWITCHING), duration_s=10.0, seed=1)
    emitters = collect(events, at_origin(4000), frames=200, interval_s=0.05, exposure_s=0.02)
    assert emitters["photons"].sum() / events["photons"].sum() == pytest.approx(0.4, rel=0.01)
    assert (emitters["photons"] > 0).all()
    assert emitters["photons"].max() <= 1000 * 0.02 * (1 + 1e-9)


def test_edges_of_frames():
    events = Events(
        pl.DataFrame(
            {"molecule": [0, 0, 0], "start_s": [0.0, 0.1, 0.25], "end_s": [0.1, 0.2, 9.0], "photons": [1.0, 1.0, 8.75]}
        )
    )
    emitters = collect(events, at_origin(1), frames=4, interval_s=0.1)
    assert emitters["frame"].tolist() == [0, 1, 2, 3]
    assert emitters["event"].tolist() == [0, 1, 2, 2]
    assert emitters["photons"].tolist() == pytest.approx([1, 1, 0.05, 0.1])


def test_blocks_of_frames_make_up_the_whole():
    events = blink(500, load_dye(SWITCHING), duration_s=10.0, seed=1)
    whole = collect(events, at_origin(500), frames=100, interval_s=0.1).data
    blocks = [collect(events, at_origin(500), frames=25, first_frame=f, interval_s=0.1).data for f in range(0, 100, 25)]
    assert pl.concat(blocks).equals(whole)


def test_blocks_of_molecules_make_up_the_whole():
    whole = blink(1000, "af647", duration_s=100, seed=9).data
    blocks = [
        blink(n, "af647", duration_s=100, seed=9, first_molecule=f).data for f, n in ((0, 1), (1, 600), (601, 399))
    ]
    assert pl.concat(blocks).equals(whole)


def test_threads_do_not_matter():
    before = numba.get_num_threads()
    many = blink(3000, "atto655", duration_s=300, seed=5).data
    numba.set_num_threads(1)
    try:
        one = blink(3000, "atto655", duration_s=300, seed=5).data
    finally:
        numba.set_num_threads(before)
    assert one.equals(many)


def test_live_molecules_agree_with_drawn_events():
    dye = load_dye(SWITCHING | {"cycles": 4})
    live = Blinking(20_000, dye, seed=1)
    photons = np.array([live.advance(0.1).sum() for _ in range(30)])
    drawn = collect(blink(20_000, dye, duration_s=3.0, seed=2), at_origin(20_000), frames=30, interval_s=0.1)
    expected = np.bincount(drawn["frame"], drawn["photons"], minlength=30)
    assert photons.sum() == pytest.approx(expected.sum(), rel=0.02)
    np.testing.assert_allclose(photons, expected, rtol=0.15)


def test_live_molecules_remember_bleaching_and_heed_the_lasers():
    live = Blinking(5000, load_dye("af647", cycles=2, off_time_s=0.5), seed=1)
    assert live.advance(1.0, activation=0.0).sum() == 0
    assert live.fractions()["off"] == 1.0
    assert live.advance(60.0, activation=3.0).sum() > 0
    assert live.fractions()["bleached"] > 0.99
    assert live.advance(10.0).sum() < 1e6
    assert live.advance(0.0).tolist() == [0.0] * 5000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"on_time_s": -1}, "on_time_s"),
        ({"off_time_s": 0}, "off_time_s"),
        ({"cycles": 0.5}, "cycles"),
        ({"photons": {"kind": "rate", "photons_per_s": -5}}, "photons_per_s"),
        ({"photons": {"kind": "measured"}}, "either values or file"),
        ({"schedules": {"activation": [[5, 1], [2, 1]]}}, "ascending"),
        ({"schedules": {"activation": [[0, -1]]}}, "greater than or equal to 0"),
        ({"kind": "magic"}, "magic"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_impossible_dyes_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        load_dye(SWITCHING | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rates": [{"start": "a", "end": "b", "per_s": -2}]}, "per_s"),
        ({"rates": [{"start": "a", "end": "x", "per_s": 2}]}, "unknown state x"),
        ({"rates": [{"start": "a", "end": "a", "per_s": 2}]}, "to itself"),
        ({"rates": [{"start": "a", "end": "b", "per_s": 2, "schedule": "uv"}]}, "unknown schedule uv"),
        ({"rates": [{"start": "a", "end": "b", "per_s": 2}] * 2}, "same transition"),
        ({"initial": {"a": 0.4}}, "sum to 0.4"),
        ({"initial": {"q": 1.0}}, "unknown state q"),
    ],
)
def test_impossible_chains_are_refused(changes, message):
    values = {"kind": "markov", "photons": RATE, "brightness": {"a": 0, "b": 1}, "initial": {"a": 1}, "rates": []}
    with pytest.raises(InputError, match=message):
        load_dye(values | changes)


def test_unknown_dyes_list_the_known_ones():
    with pytest.raises(InputError, match="af647"):
        load_dye("af999")


def test_photons_per_on_period_need_an_end():
    endless = load_dye({"kind": "always_on", "photons": {"kind": "lognormal", "mean_photons": 10, "event_cv": 0}})
    with pytest.raises(InputError, match="ON periods that end"):
        blink(1, endless, duration_s=1, seed=1)
    assert blink(1, load_dye({"kind": "always_on", "photons": RATE}), duration_s=2, seed=1)["photons"].tolist() == [
        2000.0
    ]


@pytest.mark.parametrize("duration", [0, -1, float("nan"), float("inf")])
def test_durations_are_positive(duration):
    with pytest.raises(InputError, match="duration"):
        blink(1, "af647", duration_s=duration, seed=1)


@pytest.mark.parametrize(("frames", "interval", "exposure"), [(0, 0.1, 0.1), (1, 0.1, 0.2), (1, -1, None), (1, 0.1, 0)])
def test_impossible_exposures_are_refused(frames, interval, exposure):
    with pytest.raises(InputError, match="exposed"):
        collect(Events.empty(), Dyes.empty(), frames=frames, interval_s=interval, exposure_s=exposure)


def test_nothing_in_nothing_out():
    assert len(blink(0, "af647", duration_s=1, seed=1)) == 0
    assert len(collect(Events.empty(), Dyes.empty(), frames=3, interval_s=0.1)) == 0
