import numpy as np
import pytest

from lucule.classify.graph import GraphModel
from lucule.core import InputError
from lucule.models import find
from lucule.simulate.varied_fields import varied_field
from lucule.workflows import readout


@pytest.fixture(scope="module")
def recipe():
    smoke = readout.Recipe.load("recipes/graph_readout.yaml").at("smoke")
    return smoke.replace(tables=smoke.tables.replace(count=3, validation=2), fit=smoke.fit.replace(fields=2))


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    return readout.train(recipe, out=tmp_path_factory.mktemp("readout") / "model", workers=1)


def test_a_network_with_a_readout_is_a_model_like_others(recipe, trained):
    card = find(trained).card
    assert card.task == "graph"
    assert card.options["readout"]
    assert card.recipe["readout"]["tables"]["count"] == 3
    assert set(card.scores) == {"validation_classes", "validation_point_accuracy"}
    locs = varied_field("caml", seed=1).table()
    said, before = GraphModel.load(trained).predict(locs), GraphModel.load(recipe.start).predict(locs)
    assert (said.log_odds == before.log_odds).all()
    assert (said.probability != before.probability).any()
    assert not (trained / "seen").exists()


def test_a_finished_training_is_left_as_it_is(recipe, trained):
    written = (trained / "weights.safetensors").stat().st_mtime_ns
    assert readout.train(recipe, out=trained) == trained
    assert (trained / "weights.safetensors").stat().st_mtime_ns == written
    with pytest.raises(InputError, match="another training"):
        readout.train(recipe.replace(seed=7), out=trained)


def test_an_interrupted_training_goes_on(recipe, trained, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lucule.classify.graph.readout.fit_readout", interrupted)
        with pytest.raises(KeyboardInterrupt):
            readout.train(recipe, out=tmp_path / "model", workers=1)
    monkeypatch.setattr(readout, "_look_at_part", interrupted)  # all has been seen
    readout.train(recipe, out=tmp_path / "model", workers=1)
    assert find(tmp_path / "model").card.weights_sha256 == find(trained).card.weights_sha256


def test_some_tables_lack_columns(recipe):
    tables = recipe.tables.replace(incomplete=1.0)
    columns = [set(readout.table(tables, (3, number))[0].columns) for number in range(12)]
    assert {"frame" in names for names in columns} == {True, False}
    assert {"x_err" in names for names in columns} == {True, False}
    complete, _ = readout.table(recipe.tables.replace(incomplete=0.0), (3, 1))
    assert {"frame", "photons", "x_err", "y_err", "true_label"} <= set(complete.columns)
    assert np.isin(complete["true_label"], range(4)).all()


def test_what_has_no_readout_is_refused(recipe, tmp_path):
    with pytest.raises(InputError, match="no graph network"):
        readout.train(recipe.replace(start="XPILJZ"), out=tmp_path)
    with pytest.raises(InputError, match="on the CPU"):
        readout.train(recipe, out=tmp_path, device="cuda")
