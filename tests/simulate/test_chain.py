"""The levels of the chain check their columns and keep the ids of the level below."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lucule.core import ColumnError, InputError
from lucule.simulate.chain import Dyes, Emitters, Epitopes, Events, stack
from lucule.simulate.sample import simulate_truth
from lucule.simulate.scene import load_scene
from lucule.simulate.streams import key, stream


def test_missing_columns_are_named():
    with pytest.raises(ColumnError, match="Epitopes need the columns z, label"):
        Epitopes(pl.DataFrame({"x": [0.0], "y": [0.0], "structure": [0]}))


def test_wrong_types_are_refused():
    with pytest.raises(ColumnError, match="wrong type"):
        Events(pl.DataFrame({"molecule": ["a"], "start_s": [0.0], "end_s": [1.0], "photons": [1.0]}))


@pytest.mark.parametrize("level", [Epitopes, Dyes, Events, Emitters])
def test_levels_may_be_empty(level):
    assert len(level.empty()) == 0


def test_stacked_normals_become_nan_where_there_are_none():
    bare = pl.DataFrame({"x": [0.0], "y": [0.0], "z": [0.0], "structure": [0], "label": [1]})
    both = stack([Epitopes(bare), Epitopes(bare.with_columns(nx=0.0, ny=0.0, nz=1.0))])
    assert np.isnan(both["nx"].to_numpy()).tolist() == [True, False]


def test_every_emitter_leads_back_to_its_structure():
    truth = simulate_truth(load_scene("shapes", frames=500), seed=4)
    traced = truth.traced()
    molecule, event = traced["molecule"].to_numpy(), traced["event"].to_numpy()
    epitope = traced["epitope"].to_numpy()
    assert (truth.events["molecule"][event] == molecule).all()
    assert (truth.epitopes["structure"][epitope] == traced["structure"].to_numpy()).all()
    owned = traced.filter(pl.col("structure") >= 0)
    assert (truth.structures["label"].to_numpy()[owned["structure"]] == owned["label"].to_numpy()).all()
    assert (traced.filter(pl.col("structure") < 0)["label"] == 0).all()
    centre = truth.structures.select("x", "y").to_numpy()[owned["structure"]]
    reach = truth.structures.select(pl.max_horizontal("radius_nm", "length_nm")).to_numpy()[owned["structure"], 0]
    assert (np.hypot(*(owned.select("x", "y").to_numpy() - centre).T) < reach + 60).all()


def test_frame_starts_cut_the_table_into_frames():
    emitters = simulate_truth(load_scene("uniform", frames=50), seed=1).emitters
    starts = emitters.frame_starts(50)
    assert starts[0] == 0
    assert starts[-1] == len(emitters)
    assert (emitters["frame"][starts[7] : starts[8]] == 7).all()


def test_what_is_known_is_printed_in_one_line():
    truth = simulate_truth(load_scene("uniform", frames=50), seed=1)
    assert repr(truth).startswith("Truth(")
    assert f"{len(truth.emitters):,} emitters" in repr(truth)
    assert "\n" not in repr(truth)


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None, True])
def test_seeds_are_whole_numbers(seed):
    with pytest.raises(InputError, match="seed must be a whole number"):
        stream(seed, "x")


def test_streams_of_different_names_differ():
    assert key(1, "a") != key(1, "b")
    assert key(1, "a") != key(2, "a")
    assert stream(1, "a").random() != stream(1, "a", 0).random()
