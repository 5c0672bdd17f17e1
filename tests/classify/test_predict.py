"""Labels: right on known truth, and independent of order, batches and position."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from lucule.classify import check_range, networks
from lucule.classify import classify as with_default
from lucule.classify.predict import Classifier
from lucule.core import ColumnError, FormatError, InputError, Localizations
from lucule.models import find, save
from lucule.simulate import load, simulate
from lucule.space import NeighbourGrid

SMALL = {"cell_radius_um": (3, 4)}


def classify(locs, model="XPILJZ", **options):
    return with_default(locs, model=model, **options)


@pytest.fixture(scope="module")
def locs():
    return simulate(load("caml_demo", **SMALL), seed=1)


@pytest.fixture(scope="module")
def labelled(locs):
    return classify(locs)


def test_clusters_are_found(locs, labelled):
    assert (labelled["label"] == locs["true_label"]).mean() > 0.95
    assert labelled["label"].dtype == np.uint8
    assert labelled["p_label"].dtype == np.float32
    assert labelled.data.drop("label", "p_label").equals(locs.data)


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"fraction_clustered": 0.2}, 0.9),
        ({"shape": "gaussian"}, 0.93),
        ({"radius_nm": 15}, 0.95),
        ({"density_per_um2": 500, "points_per_cluster": 80}, 0.93),
        ({"fraction_clustered": 0.0, "cell_radius_um": (8, 10)}, 0.88),
    ],
)
def test_accuracy_in_other_fields(changes, limit):
    locs = simulate(load("caml_demo", **SMALL | changes), seed=2)
    assert (classify(locs)["label"] == locs["true_label"]).mean() > limit


def test_probabilities_are_those_of_the_label_and_calibrated(locs, labelled):
    """Where the network is sure, it is right more often; never less than 0.5 for two classes."""
    right = labelled["label"] == locs["true_label"]
    p = labelled["p_label"]
    assert p.min() >= 0.5
    assert p.max() <= 1
    assert right[p > 0.95].mean() > 0.97 > right[p < 0.7].mean()


def test_row_order_does_not_matter(locs, labelled):
    order = np.random.default_rng(0).permutation(len(locs))
    shuffled = classify(Localizations(locs.data[order], locs.meta))
    assert np.array_equal(shuffled["label"], labelled["label"][order])
    assert np.array_equal(shuffled["p_label"], labelled["p_label"][order])


@pytest.mark.parametrize("batch", [1000, 2049, 100_000])
def test_batches_do_not_matter(locs, labelled, batch):
    label, p = Classifier.load("XPILJZ", "cpu").predict(NeighbourGrid(locs.xy()), batch=batch)
    assert np.array_equal(label, labelled["label"])
    assert np.array_equal(p, labelled["p_label"])


def test_scale_does_not_matter(locs, labelled):
    """XPILJZ sees no lengths: a field half as large has the same labels."""
    half = Localizations({"x": locs["x"] / 2, "y": locs["y"] / 2})
    assert (classify(half)["label"] == labelled["label"]).mean() > 0.9999


def test_history_and_global_state(locs, labelled):
    last = labelled.meta.history[-1]
    assert last.function.endswith(".classify")
    assert last.parameters == {"model": "XPILJZ"}
    threads = torch.get_num_threads()
    classify(locs.filter("x < 20000"))
    assert torch.get_num_threads() == threads


def test_labels_are_replaced_not_added_twice(labelled):
    assert classify(labelled).columns == labelled.columns


def test_empty_table():
    result = classify(Localizations({"x": np.empty(0), "y": np.empty(0)}))
    assert len(result) == 0
    assert "label" in result
    assert "p_label" in result


@pytest.mark.parametrize("n", [1, 2, 3, 100, 101, 102])
def test_few_localizations(n, caplog):
    xy = np.random.default_rng(0).random((n, 2)) * 1000
    with caplog.at_level(logging.WARNING):
        result = classify(Localizations({"x": xy[:, 0], "y": xy[:, 1]}))
    assert len(result) == n
    assert np.isfinite(result["p_label"]).all()
    assert ("fewer than the 101" in caplog.text) == (n < 101)
    if n == 1:
        assert result["label"].tolist() == [0]
        assert result["p_label"].tolist() == [1.0]


def test_a_cluster_alone_in_a_large_field_is_found():
    """60 localizations in 50 nm and 60 in 10 um around: fewer neighbours than the network looks at."""
    rng = np.random.default_rng(0)
    xy = np.concatenate([rng.normal(5000, 15, (48, 2)), rng.random((48, 2)) * 10000])
    label = classify(Localizations({"x": xy[:, 0], "y": xy[:, 1]}))["label"]
    assert label[:48].mean() > 0.9
    assert label[48:].mean() < 0.3


def test_identical_localizations():
    result = classify(Localizations({"x": np.zeros(20_000), "y": np.zeros(20_000)}))
    assert set(np.unique(result["label"])) <= {0, 1}
    assert np.isfinite(result["p_label"]).all()
    assert len(np.unique(result["p_label"])) == 1


def test_within_range_there_is_no_warning(locs):
    assert check_range(locs, find("XPILJZ").card) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: simulate(load("csr", density_per_um2=0.5, outline="square"), seed=1), "below the training range"),
        (lambda: simulate(load("csr", density_per_um2=20000, outline="square", field_size_um=1), seed=1), "above the"),
        (lambda: simulate(load("spheres_3d", **SMALL), seed=1), "z is not used"),
        (lambda: Localizations({"x": np.tile(np.arange(500.0), 2), "y": np.zeros(1000)}), "duplicate"),
        (lambda: Localizations({"x": [0.0], "y": [0.0]}), "fewer than the 101"),
    ],
)
def test_out_of_range_is_said(make, message, caplog):
    locs = make()
    assert any(message in warning for warning in check_range(locs, find("XPILJZ").card))
    with caplog.at_level(logging.WARNING):
        classify(locs)
    assert message in caplog.text


def test_unknown_model_device_and_damaged_weights(locs, tmp_path):
    with pytest.raises(InputError, match="XPILJZ"):
        classify(locs, model="nothing")
    with pytest.raises(InputError, match="Unknown device"):
        classify(locs, device="gpu")
    packaged = find("XPILJZ")
    save(tmp_path, packaged.card, packaged.state()).weights_path.write_bytes(b"")
    with pytest.raises(FormatError, match="damaged"):
        classify(locs, model=tmp_path)


def test_models_for_other_tasks_are_refused(locs, tmp_path):
    packaged = find("XPILJZ")
    save(tmp_path, packaged.card.replace(task="localize"), packaged.state())
    with pytest.raises(InputError, match="does not classify"):
        classify(locs, model=tmp_path)


def test_three_dimensions_need_z(locs, tmp_path):
    packaged = find("XPILJZ")
    features = packaged.card.features | {"dims": 3}
    save(tmp_path, packaged.card.replace(features=features), packaged.state())
    with pytest.raises(ColumnError, match="no z"):
        classify(locs, model=tmp_path)
    assert "label" in classify(simulate(load("spheres_3d", **SMALL), seed=1), model=tmp_path)


def test_several_classes(locs, tmp_path):
    """A network with one output for each class: label = the most probable one."""
    torch.manual_seed(0)
    network = networks.build("dense", k=100, classes=3)
    card = find("XPILJZ").card.replace(classes=["none", "round", "fibre"])
    save(tmp_path, card, network.state_dict())
    result = classify(locs, model=tmp_path)
    assert result["label"].max() <= 2
    assert result["p_label"].min() >= 1 / 3


def test_unknown_architectures_are_refused():
    with pytest.raises(InputError, match="dense"):
        networks.build("transformer", k=100, classes=2)


def test_the_default_is_the_graph_network(locs):
    result = with_default(locs)
    assert result.meta.history[-1].parameters.get("model", "graph") == "graph"
    assert result["label"].dtype == np.uint8
    assert result["p_label"].dtype == np.float32
    assert (result["label"] == locs["true_label"]).mean() > 0.95
    assert len(with_default(Localizations({"x": np.empty(0), "y": np.empty(0)}))) == 0
