"""Labelling: efficiencies, numbers of dyes, lengths and directions of linkers, unspecific labels."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from lucule.core import InputError
from lucule.simulate.chain import Epitopes
from lucule.simulate.labelling import Labelling, label, unspecific

N = 20_000


def epitopes(n=N, normals=True):
    zero = np.zeros(n)
    columns = {"x": zero, "y": zero, "z": zero, "structure": np.arange(n) // 10, "label": np.ones(n, np.uint8)}
    if normals:
        columns |= {"nx": np.full(n, 0.6), "ny": zero, "nz": np.full(n, 0.8)}
    return Epitopes(pl.DataFrame(columns))


def labelled(settings, **keywords):
    return label(epitopes(**keywords), Labelling.model_validate(settings), seed=2)


def vectors(dyes):
    return np.column_stack([dyes["x"], dyes["y"], dyes["z"]])


def test_efficiency_is_binomial():
    dyes = labelled(0.3)
    assert stats.binomtest(len(dyes), N, 0.3).pvalue > 0.01
    assert (dyes["structure"] == dyes["epitope"] // 10).all()


@pytest.mark.parametrize(
    ("number", "mean", "variance"),
    [
        ({"kind": "fixed", "mean": 3}, 3, 0),
        ({"kind": "fixed", "mean": 1.25}, 1.25, 0.1875),
        ({"kind": "poisson", "mean": 2.5}, 2.5, 2.5),
        ({"kind": "binomial", "sites": 6, "probability": 0.5}, 3, 1.5),
        ({"kind": "normal", "mean": 5, "variance": 2}, 5, 2 + 1 / 12),
    ],
)
def test_numbers_of_dyes(number, mean, variance):
    dyes = labelled({"linkers": [{"number": number}]})
    counts = np.bincount(dyes["epitope"], minlength=N)
    assert counts.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / N) + 1e-9)
    assert counts.var() == pytest.approx(variance, rel=0.06, abs=1e-9)


def test_free_linkers_point_anywhere():
    v = vectors(labelled({"linkers": [{"length_nm": 12, "length_sd_nm": 2}]}))
    length = np.linalg.norm(v, axis=1)
    assert stats.kstest(length, stats.norm(12, 2).cdf).pvalue > 0.01
    # uniform on the sphere: every component of the direction is uniform from -1 to 1
    for axis in range(3):
        assert stats.kstest(v[:, axis] / length, stats.uniform(-1, 2).cdf).pvalue > 0.01


def test_lengths_are_never_negative():
    dyes = labelled({"linkers": [{"length_nm": 1, "length_sd_nm": 2, "orientation": "normal"}]})
    along = vectors(dyes) @ [0.6, 0, 0.8]
    assert along.min() > 0
    assert stats.kstest(along, stats.truncnorm(-0.5, np.inf, 1, 2).cdf).pvalue > 0.01


def test_cone_keeps_its_angle_to_the_normal():
    linker = {"length_nm": 30, "orientation": "cone", "angle_deg": 40, "angle_sd_deg": 5}
    v = vectors(labelled({"linkers": [linker]}))
    angle = np.degrees(np.arccos(v @ [0.6, 0, 0.8] / 30))
    assert stats.kstest(angle, stats.norm(40, 5).cdf).pvalue > 0.01
    # the azimuth is free: no net shift across the normal
    across = v - np.outer(v @ [0.6, 0, 0.8], [0.6, 0, 0.8])
    assert np.abs(across.mean(axis=0)).max() < 4 * 30 * np.sin(np.radians(40)) / np.sqrt(N)


def test_antibody_chain_adds_up():
    chain = [
        {"length_nm": 10},
        {"number": {"kind": "poisson", "mean": 2}, "probability": 0.8, "length_nm": 8},
        {"number": {"kind": "fixed", "mean": 3}, "length_nm": 1},
    ]
    dyes = labelled({"probability": 0.5, "linkers": chain})
    assert len(dyes) / N == pytest.approx(0.5 * 2 * 0.8 * 3, rel=0.05)
    # free joints: squared lengths add
    assert (vectors(dyes) ** 2).sum(axis=1).mean() == pytest.approx(100 + 64 + 1, rel=0.02)


def test_unspecific_labels_fill_the_volume():
    labelling = Labelling(
        unspecific_per_um2=5,
        unspecific_per_um3=3,
        unspecific_axial_range_nm=2000,
        unspecific_dyes={"kind": "fixed", "mean": 2},
    )
    dyes = unspecific(labelling, size_nm=(20e3, 10e3), z_nm=(-300, 300), seed=1)
    assert len(dyes) / 2 == pytest.approx(200 * (5 + 3 * 2), abs=4 * np.sqrt(2200))
    assert set(dyes["epitope"]) == {-1}
    assert set(dyes["label"]) == {0}
    z = dyes["z"][::2]
    assert stats.kstest(z, stats.uniform(-1000, 2000).cdf).pvalue > 0.01


def test_same_seed_same_bits():
    settings = {"probability": 0.5, "linkers": [{"number": {"kind": "poisson", "mean": 2}, "length_nm": 8}]}
    assert labelled(settings).data.equals(labelled(settings).data)


@pytest.mark.parametrize("orientation", ["normal", "cone"])
def test_orientation_needs_normals(orientation):
    with pytest.raises(InputError, match="needs epitopes with normals"):
        labelled({"linkers": [{"length_nm": 5, "orientation": orientation}]}, normals=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"probability": 1.5}, "probability"),
        ({"linkers": [{"length_nm": -5}]}, "length_nm"),
        ({"linkers": [{"number": {"kind": "poisson", "mean": -1}}]}, "mean"),
        ({"linkers": [{"number": {"kind": "gamma"}}]}, "gamma"),
        ({"linkers": [{"orientation": "up"}]}, "orientation"),
        ({"unspecific_per_um2": -1}, "unspecific_per_um2"),
    ],
)
def test_impossible_labellings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Labelling.parse(settings)


def test_no_epitopes_no_dyes():
    assert len(labelled({"linkers": [{"length_nm": 5, "orientation": "cone"}]}, n=0)) == 0
