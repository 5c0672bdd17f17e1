"""The line network: what it sees, what it is trained on, and what the packaged one finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from lucule import models
from lucule.classify import lines
from lucule.classify.lines.fields import WindowSettings, batch_of, field_of
from lucule.classify.lines.network import LineNetwork, count_map, folded, joined, seen
from lucule.core import InputError, Localizations


def double_lines(rng: np.random.Generator, centres: list[tuple[float, float]], background: int, side: float):
    """Double lines 120 nm apart, several localizations of each epitope, and uniform background."""
    parts, structure, epitope = [], [], []
    for number, centre in enumerate(centres):
        place = np.column_stack([rng.choice([-60.0, 60.0], 120), rng.uniform(-650, 650, 120)]) + centre
        owner = np.repeat(np.arange(120), rng.poisson(15, 120))
        parts.append(place[owner] + rng.normal(0, 10, (len(owner), 2)))
        structure.append(np.full(len(owner), number))
        epitope.append(owner + 120 * number)
    parts.append(rng.uniform(0, side, (background, 2)))
    structure.append(np.full(background, -1))
    epitope.append(np.full(background, -1))
    xy, on = np.vstack(parts), np.concatenate(structure)
    return Localizations(
        {
            "x": xy[:, 0], "y": xy[:, 1], "true_x": xy[:, 0], "true_y": xy[:, 1], "structure": on,
            "true_label": (on >= 0).astype(np.uint8), "epitope": np.concatenate(epitope), "event": np.arange(len(xy)),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def scene():
    return double_lines(np.random.default_rng(1), [(3000, 3000), (6400, 3000), (9800, 3100)], 1500, 13_000)


def test_counts_are_kept() -> None:
    xy = torch.rand(500, 2) * 20 + 2
    assert float(count_map(xy, 30, 30).sum()) == pytest.approx(500, rel=1e-5)


def test_the_network_answers_for_every_localization() -> None:
    network = LineNetwork((4, 8, 8)).eval()
    xy = torch.rand(40, 2) * 30
    batch = torch.repeat_interleave(torch.arange(2), 20)
    counts = torch.stack([count_map(xy[batch == b], 32, 32) for b in (0, 1)])
    answer = network(counts, batch, xy)
    assert answer.shape == (40, 3)
    alone = network(counts[1:], torch.zeros(20, dtype=torch.long), xy[20:])
    torch.testing.assert_close(answer[20:], alone, rtol=1e-4, atol=1e-4)


def test_levels_are_joined_as_if_put_side_by_side() -> None:
    network = LineNetwork((4, 8, 8)).eval()
    kept, below = torch.rand(1, 4, 16, 24), torch.rand(1, 8, 8, 12)
    enlarged = torch.nn.functional.interpolate(below, scale_factor=2, mode="nearest")
    together = network.up[0](torch.cat([kept, enlarged], 1))
    torch.testing.assert_close(joined(network.up[0], kept, below), together, rtol=1e-5, atol=1e-6)


def test_the_surroundings_are_means_with_nothing_beyond_the_border() -> None:
    counts = torch.rand(1, 20, 90)
    padded = torch.nn.functional.pad(counts, (31, 31, 31, 31))
    mean = torch.nn.functional.avg_pool2d(padded, 63, stride=1)
    torch.testing.assert_close(seen(counts)[:, 1], torch.log1p(counts / (mean + 0.003)), rtol=1e-4, atol=1e-4)


def test_folding_changes_no_answer() -> None:
    network = LineNetwork((4, 8, 8))
    maps = seen(torch.rand(2, 32, 48))
    network.train()(torch.rand(2, 32, 48), torch.zeros(1, dtype=torch.long), torch.ones(1, 2))  # other means and widths
    torch.testing.assert_close(folded(network).maps(maps), network.eval().maps(maps), rtol=1e-4, atol=1e-5)


def test_what_lies_around_is_a_mean_with_nothing_beyond_the_border() -> None:
    counts = torch.rand(1, 80, 90)
    wanted = torch.nn.functional.avg_pool2d(counts, 63, 1, 31)
    around = counts / torch.expm1(seen(counts)[:, 1]) - 0.003
    torch.testing.assert_close(around, wanted, rtol=1e-3, atol=1e-4)


def test_windows_hold_the_truth(scene) -> None:
    field = field_of(scene)
    assert field.centres.shape == (3, 2)
    batch = batch_of([field], WindowSettings(side_px=160, labelling=0.5), 3, np.random.default_rng(1))
    assert batch.counts.shape == (3, 160, 160)
    assert batch.label.any()
    assert len(batch.label) == len(batch.xy_px) == len(batch.weight)
    # the vectors of one structure lead to one place, whatever the turn; blurring adds some nm
    towards = batch.xy_px * 0.016 + batch.offset_um
    of = batch.label & (batch.batch == batch.batch[batch.label][0])
    spread = torch.stack([(towards[of] - c).norm(dim=1) for c in towards[of][:1]]).min(dim=0).values
    assert float(spread.median()) < 0.06 or len(torch.unique(towards[of].round(decimals=0), dim=0)) > 1


def test_added_background_lies_everywhere_and_counts_away_from_the_lines_only(scene) -> None:
    """Some windows get more background than the field has; what of it lies on the lines has no weight."""
    field = field_of(scene)
    none = WindowSettings(side_px=160, labelling=1, events=1, blur_nm=0, background_per_um2=(1e-6, 2e-6))
    much = none.replace(background_per_um2=(200.0, 200.0))
    windows = [batch_of([field], settings, 12, np.random.default_rng(5)) for settings in (none, much)]
    added = [int(w.label.numel() - w.label.sum()) for w in windows]
    assert added[1] > added[0] + 2_000
    idle = (windows[1].weight == 0) & ~windows[1].label
    on_lines = np.concatenate(
        [
            cKDTree(windows[1].xy_px[here & windows[1].label]).query(windows[1].xy_px[here & idle])[0]
            for here in (windows[1].batch == k for k in range(12))
            if (here & idle).any() and (here & windows[1].label).any()
        ]
    )
    assert len(on_lines) > 20
    assert on_lines.max() * much.pixel_nm < much.clearance_nm + 0.1


@pytest.mark.parametrize("background", [30, 300])
def test_background_everywhere_hides_no_double_line(background) -> None:
    """Lines 50 times as dense as what lies around and between them; what is nearer than 50 nm does not count."""
    rng = np.random.default_rng(3)
    drawn = []
    for x in (2500.0, 5000.0, 7500.0):
        place = np.column_stack([rng.choice([-60.0, 60.0], 2000), rng.uniform(-700, 700, 2000)])
        drawn.append(rng.normal(place, 12) + np.array([x, 3000]))
    on_lines = np.concatenate(drawn)
    around = rng.uniform((0, 0), (10_000, 6_000), (background * 60, 2))
    label = lines.LineModel.load().predict(np.concatenate([on_lines, around])).label
    assert label[: len(on_lines)].mean() > 0.98
    assert label[len(on_lines) :][cKDTree(on_lines).query(around)[0] > 50].mean() < 0.06


def test_the_packaged_network_finds_double_lines(scene) -> None:
    said = lines.LineModel.load("lines", "cpu").predict(scene.xy())
    truth = scene["true_label"] > 0
    assert (said.label[truth] == 1).mean() > 0.97
    assert (said.label[~truth] == 0).mean() > 0.9
    centre = np.array([(3000, 3000), (6400, 3000), (9800, 3100)])[scene["structure"][truth]]
    assert np.median(np.hypot(*(said.centre_nm[truth] - centre).T)) < 250


def test_the_result_depends_neither_on_order_nor_on_place(scene) -> None:
    model = lines.LineModel.load("lines", "cpu")
    xy = scene.xy()
    order = np.random.default_rng(2).permutation(len(xy))
    said, shuffled = model.predict(xy), model.predict(xy[order])
    np.testing.assert_allclose(said.probability[order], shuffled.probability, atol=1e-3)
    moved = model.predict(xy + np.float32(16 * 20.0))  # the coarsest pixel
    np.testing.assert_allclose(said.probability, moved.probability, atol=0.02)


def test_the_result_does_not_depend_on_the_tiles(scene, monkeypatch) -> None:
    model, xy = lines.LineModel.load("lines", "cpu"), scene.xy()
    whole = model.predict(xy)
    monkeypatch.setattr("lucule.classify.lines.predict._CORE_PX", 250)
    assert (model.predict(xy).label == whole.label).mean() > 0.995


@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_localizations(n) -> None:
    said = lines.LineModel.load("lines", "cpu").predict(np.zeros((n, 2), np.float32))
    assert said.label.shape == (n,)
    assert not said.label.any()


def test_another_kind_of_model_is_refused() -> None:
    with pytest.raises(InputError, match="does not find double lines"):
        lines.LineModel.load("XPILJZ")


def test_an_unlikely_density_is_said(scene) -> None:
    card = models.find("lines").card
    assert lines.check_range(scene, card) == []
    small = Localizations({"x": scene["x"] / 1000, "y": scene["y"] / 1000})
    assert "unit" in lines.check_range(small, card)[0]
