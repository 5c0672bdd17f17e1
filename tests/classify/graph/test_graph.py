import numpy as np
import pytest
import torch

from lucule.classify import check_range, classify
from lucule.classify.graph import GraphModel, Recipe, compiled, train
from lucule.classify.graph.batches import FieldSettings, hide_columns, make_batch
from lucule.classify.graph.inputs import RANKS, Graph, neighbour_graph
from lucule.classify.graph.predict import run
from lucule.classify.graph.train import build, loss, outputs
from lucule.core import SILENT, InputError, Localizations
from lucule.models import find
from lucule.simulate.varied_fields import varied_field

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model():
    return GraphModel.load("graph", "cpu")


@pytest.fixture(scope="module")
def field():
    return varied_field("discs", seed=11)


@pytest.mark.parametrize("family", ["three_d", "fibres", "sparse"])
@pytest.mark.parametrize("shown", [1.0, 0.0])
def test_the_compiled_layers_do_what_the_network_does(family, shown):
    settings = FieldSettings(families={family: 1}, points=1, frame_known=shown, error_known=shown, photons_known=shown)
    batch = hide_columns(make_batch(settings, 1, 0), settings, torch.Generator().manual_seed(1))
    torch.manual_seed(3)
    network = build(width=32, layers=4, classes=4).eval()
    graph = Graph(batch.index.numpy(), batch.distance.numpy())
    with torch.inference_mode(), SILENT.task("") as task:
        compiled_said = compiled.run(network, *compiled.start(network, batch.columns, graph), graph.index, task)
        tensors_said = run(network, batch.columns, graph, CPU, task)
        logits, affinity, present = outputs(network, batch)
    for probability, log_odds in (compiled_said, tensors_said):
        assert np.allclose(probability, logits.softmax(dim=1), atol=1e-5)
        assert np.allclose(log_odds[present.numpy()], affinity[present], atol=1e-4)


def test_tiles_have_no_borders(model, monkeypatch):
    x, y = np.random.default_rng(5).gamma(2, 600, (2, 2000))
    locs = Localizations({"x": x, "y": y})
    whole = model.predict(locs)
    monkeypatch.setattr(compiled, "TILE", 300)
    tiled = model.predict(locs)
    assert (tiled.neighbours == whole.neighbours).all()
    assert np.allclose(tiled.probability, whole.probability, atol=1e-5)
    assert np.allclose(tiled.log_odds, whole.log_odds, atol=1e-4)


def test_half_precision_says_the_same(model, field, monkeypatch):
    locs = field.table()
    whole = model.predict(locs)
    monkeypatch.setattr(compiled, "HALVED_FROM", 0)
    monkeypatch.setattr(compiled, "TILE", 300)
    halved = model.predict(locs)
    assert 0 < np.abs(halved.probability - whole.probability).max() < 0.01
    assert np.abs(halved.log_odds - whole.log_odds).max() < 0.1


def moved(locs, **columns):
    return locs.with_columns(**{name: np.asarray(values, np.float32) for name, values in columns.items()})


def test_turning_shifting_and_shuffling_change_nothing(model, field):
    locs = field.table()
    plain = model.predict(locs).probability
    x, y = locs["x"].astype(np.float64), locs["y"].astype(np.float64)
    c, s = np.cos(0.7), np.sin(0.7)
    turned = model.predict(moved(locs, x=c * x - s * y + 1500, y=s * x + c * y - 300)).probability
    assert np.median(np.abs(turned - plain)) < 1e-3  # float32 positions
    assert np.abs(turned - plain).max() < 0.05
    order = np.random.default_rng(1).permutation(len(locs))
    shuffled = model.predict(Localizations(locs.data[order], locs.meta)).probability
    # where two neighbours are equally far, the row decides which one is seen
    assert np.abs(shuffled - plain[order]).max() < 0.05
    assert np.mean(np.abs(shuffled - plain[order]) < 0.01) > 0.95


def test_channels_do_not_see_each_other(model, field):
    locs = field.table()
    first, second = (np.full(len(locs), channel, np.uint8) for channel in (0, 1))
    beside = moved(locs, x=locs["x"] + 3)
    both = Localizations.concat([locs.with_columns(channel=first), beside.with_columns(channel=second)])
    said = model.predict(both)
    assert np.abs(said.probability[: len(locs)] - model.predict(locs).probability).max() < 1e-4
    assert (said.neighbours[: len(locs)] < len(locs)).all()
    second = said.neighbours[len(locs) :]
    assert ((second >= len(locs)) | (second == -1)).all()


def test_packaged_weights_find_what_there_is(model):
    right = []
    for seed in range(4):
        drawn = varied_field("caml", seed=(500, seed))
        labelled = classify(drawn.table(), model="graph", device="cpu")
        right.append(((labelled["label"] > 0) == (drawn.label > 0)).mean())
    assert np.mean(right) > 0.9


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_few_localizations(model, n):
    rng = np.random.default_rng(1)
    locs = Localizations({"x": rng.normal(size=n) * 50, "y": rng.normal(size=n) * 50})
    said = model.predict(locs)
    assert said.probability.shape == (n, 4)
    assert np.isfinite(said.probability).all()
    assert "fewer than" in check_range(locs, model.card)[0]


def test_duplicates_and_useless_columns(model):
    rng = np.random.default_rng(2)
    x = np.repeat(rng.uniform(0, 1000, 200), 3)
    locs = Localizations(
        {"x": x, "y": np.repeat(rng.uniform(0, 1000, 200), 3), "frame": np.zeros(600), "x_err": np.zeros(600)}
    )
    assert np.isfinite(model.predict(locs).probability).all()


def test_missing_neighbours_continue_a_uniform_density():
    points = np.random.default_rng(3).uniform(0, 1000, (100, 2)).astype(np.float32)
    graph, order = neighbour_graph(points)
    assert sorted(order) == list(range(100))
    far = np.asarray(RANKS) > 99
    assert (graph.index[:, far] == -1).all()
    assert (np.diff(graph.distance, axis=1) > 0).all()
    assert np.allclose(graph.distance[:, -1] / graph.distance[:, -2], np.sqrt(RANKS[-1] / RANKS[-2]), rtol=1e-5)


def test_a_model_of_another_task_is_refused():
    with pytest.raises(InputError, match="no affinities"):
        GraphModel.load("XPILJZ")


def test_warnings_outside_the_training_range(model):
    rng = np.random.default_rng(4)
    x, y = rng.uniform(0, 100, (2, 3000))
    assert any("density" in warning for warning in check_range(Localizations({"x": x / 50, "y": y / 50}), model.card))
    err = np.full(3000, 500.0)
    warnings = check_range(Localizations({"x": x * 100, "y": y * 100, "x_err": err, "y_err": err}), model.card)
    assert any("localization error" in warning for warning in warnings)
    assert check_range(Localizations({"x": x * 100, "y": y * 100}), model.card) == []


def test_training_lowers_the_loss(tmp_path):
    recipe = Recipe.load("recipes/graph.yaml").at("smoke")
    assert set(recipe.fields.families) == {"discs"}  # instead of, not beside those of the recipe
    recipe = recipe.replace(fit=recipe.fit.replace(steps=12, learning_rate=1e-2, ema_decay=0.5))
    train(recipe, out=tmp_path / "a", device="cpu", workers=0)
    log = np.genfromtxt(tmp_path / "a" / "log.csv", delimiter=",", names=True)
    assert log["loss"][-1] < log["loss"][0]
    card = find(tmp_path / "a").card
    assert card.task == "graph"
    assert {"validation_point_accuracy", "validation_pair_accuracy"} <= set(card.scores)


def test_a_training_starts_from_the_weights_of_a_model(tmp_path):
    smoke = Recipe.load("recipes/graph.yaml").at("smoke")
    hardly = smoke.fit.replace(steps=1, learning_rate=1e-9, log_every_steps=1)
    recipe = smoke.replace(fit=hardly, width=64, layers=5, start="graph")
    train(recipe, out=tmp_path / "a", device="cpu", workers=0)
    now, before = find(tmp_path / "a").state(), find("graph").state()
    assert all(torch.allclose(now[name], before[name], atol=1e-6) for name in before)
    with pytest.raises(InputError, match="another network"):
        train(recipe.replace(layers=2), out=tmp_path / "b", device="cpu", workers=0)
    with pytest.raises(InputError, match="other classes"):
        train(recipe.replace(classes=("no", "a", "b", "c")), out=tmp_path / "c", device="cpu", workers=0)
    with pytest.raises(InputError, match="another network"):
        train(recipe.replace(start="XPILJZ"), out=tmp_path / "d", device="cpu", workers=0)


def test_batches_are_the_same_every_time_and_whatever_the_fields(tmp_path):
    settings = FieldSettings(families={"mixed": 1, "random": 1}, points=800)
    one, two = make_batch(settings, 5, 3), make_batch(settings, 5, 3)
    assert torch.equal(one.columns.points, two.columns.points)
    assert torch.equal(one.index, two.index)
    assert (one.field[one.index.clamp(min=0).long()] == one.field[:, None])[one.index >= 0].all()
    value, details = loss(build(width=16, layers=2, classes=4), one)
    assert torch.isfinite(value)
    assert 0 <= details["point_accuracy"] <= 1
    with pytest.raises(InputError, match="families among"):
        FieldSettings.parse({"families": {"nosuch": 1}, "points": 10})
