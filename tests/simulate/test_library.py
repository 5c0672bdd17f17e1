"""One name space for scenes and scenarios."""

from __future__ import annotations

import pytest

from lucule import simulate
from lucule.core import InputError
from lucule.simulate import scenario


def test_no_name_means_two_things() -> None:
    assert not set(simulate.scenes()) & set(scenario.available())
    assert simulate.available() == sorted([*simulate.scenes(), *scenario.available()])


@pytest.mark.parametrize("name", simulate.available())
def test_everything_packaged_loads(name) -> None:
    found = simulate.load(name)
    assert isinstance(found, simulate.Scene if name in simulate.scenes() else simulate.Scenario)


@pytest.mark.parametrize("name", ["sarcomere", "caml_demo"])
def test_from_a_file(tmp_path, name) -> None:
    path = simulate.load(name).to_yaml(tmp_path / "mine.yaml")
    assert simulate.load(path) == simulate.load(name)


def test_changes() -> None:
    scene = simulate.load("sarcomere", line_distance_nm=136, labelling=0.5)
    assert scene.layers["double_lines"].specimen.line_distance_nm.limits == (136, 136)
    with pytest.raises(InputError, match="no such setting"):
        simulate.load("sarcomere", line_distanze_nm=136)


def test_unknown_names_and_lost_files() -> None:
    with pytest.raises(InputError, match="sarcomere_varied"):
        simulate.load("sarcomer")
    with pytest.raises(InputError, match="give its name, sarcomere"):
        simulate.load("mine/sarcomere.yaml")
    with pytest.raises(InputError, match="no such scene"):
        simulate.load("specimens/sarcomer.yaml")
    with pytest.raises(InputError, match="Cannot read"):
        simulate.load("nowhere/mine.yaml")


def test_packaged_ones_can_be_named_like_files(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert simulate.load("specimens/sarcomere.yaml") == simulate.load("sarcomere")
    assert simulate.load_scene("specimens/axon.yaml") == simulate.load_scene("axon")
    assert simulate.load("specimens/csr.yaml") == simulate.load("csr")
    (tmp_path / "specimens").mkdir()
    simulate.load("origami").to_yaml(tmp_path / "specimens" / "sarcomere.yaml")
    assert simulate.load("specimens/sarcomere.yaml") == simulate.load("origami")  # a file that is there goes first


@pytest.mark.slow
def test_the_example_of_the_documentation() -> None:
    scene = simulate.load("sarcomere", line_distance_nm=136, labelling=0.5)
    table = simulate.localizations(scene, seed=1)
    assert {"event", "molecule", "epitope", "structure", "true_label"} <= set(table.columns)
    movie, truth = simulate.movie(scene, camera="emccd_ixon897", psf="astigmatic", frames=10_000, seed=1)
    assert movie.shape == (10_000, 410, 410)
    assert movie[500:503].shape == (3, 410, 410)
    assert truth.structures["line_distance_nm"].drop_nulls().unique().to_list() == [136]


def test_the_mean_background_is_set_in_one_place() -> None:
    with pytest.raises(InputError, match="background_photons"):
        simulate.load("uniform", **{"background.photons_per_pixel": 50})
    assert simulate.load("uniform", **{"background.structure": 0.3}).background.structure == 0.3
