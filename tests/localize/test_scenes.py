"""Training frames hold what the settings say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lucule.core import InputError
from lucule.localize.samplers import SAMPLERS, Field, mixture, table
from lucule.localize.scenes import SceneSettings, prepare
from lucule.nn import torch_threads
from lucule.simulate import load_camera
from lucule.simulate.optics import compile_psf

FIELD = Field((6400.0, 5000.0), (-600.0, 700.0))
PLAIN = SceneSettings(
    scenes=60, frames=12, samplers={"csr": 1}, density_per_um2=(0.4, 0.4), photons=(4000, 4000), photons_spread=(0, 0),
    photons_per_background=(100, 100), background_unevenness=(0, 0), on_frames=(3, 3), faintest_photons=1.0,
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


def stage(settings=PLAIN, camera="smlm_challenge", **options):
    return prepare(settings, compile_psf("astigmatic", 100), load_camera(camera), **options)


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def test_density_photons_background_and_depth_are_those_of_the_settings():
    batch = stage().batch(0, seeded())
    frames = PLAIN.scenes * PLAIN.frames
    per_frame = len(batch.truth.x) / frames
    # 4.8 x 4.8 um; frames of a scene are not independent, hence the wide limit (about 4 standard errors)
    assert per_frame == pytest.approx(0.4 * 4.8**2, rel=0.08)
    photons = batch.truth.photons.exp()
    # an emitter with the mean ON time t touches t + 1 frames in the mean and shares its light among them
    assert float(photons.mean()) == pytest.approx(4000 * 3 / 4, rel=0.03)
    assert float(photons.max()) <= 4000 * 1.0001
    assert torch.equal(batch.truth.background, torch.full_like(batch.truth.background, 40.0))
    z = batch.truth.z * 750
    assert float(z.mean()) == pytest.approx(0, abs=50)
    assert float(z.std()) == pytest.approx(1500 / np.sqrt(12), rel=0.05)
    expected = 40 + 0.4 * 3000 / 100  # 100 pixels for each um2
    assert float(batch.photons.mean()) == pytest.approx(expected, rel=0.08)


def test_emitters_stay_where_they_are_and_on_for_exponential_times():
    batch = stage(PLAIN.replace(scenes=40, frames=40, density_per_um2=(0.05, 0.05))).batch(0, seeded(2))
    truth = batch.truth
    keys = torch.stack([torch.div(truth.frame, 40, rounding_mode="floor").float(), truth.x, truth.y, truth.z], dim=1)
    _, counts = torch.unique(keys, dim=0, return_counts=True)
    # an ON time of mean t begins and ends within frames: t + 1 frames in the mean, fewer at the ends of the scene
    assert float(counts.float().mean()) == pytest.approx(4 * 40 / 43, rel=0.1)


def test_without_on_time_every_emitter_shines_throughout_one_frame():
    truth = stage(PLAIN.replace(on_frames=None)).batch(0, seeded(2)).truth
    scene = torch.div(truth.frame, PLAIN.frames, rounding_mode="floor").float()
    keys = torch.stack([scene, truth.x, truth.y, truth.z], dim=1)
    assert len(torch.unique(keys, dim=0)) == len(keys)
    assert torch.allclose(truth.photons.exp(), torch.tensor(4000.0), rtol=1e-4)
    assert len(keys) / (PLAIN.scenes * PLAIN.frames) == pytest.approx(0.4 * 4.8**2, rel=0.05)
    assert set((truth.frame % PLAIN.frames).tolist()) == set(range(PLAIN.frames))


def test_the_same_generator_gives_the_same_batch():
    made = stage(PLAIN.replace(scenes=4, samplers={"structures": 1}))
    first, second, other = (made.batch(0, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(first.photons, second.photons)
    assert torch.equal(first.truth.x, second.truth.x)
    assert first.photons.shape == other.photons.shape
    assert not torch.equal(first.photons, other.photons)


def test_faint_emitters_shine_but_are_not_asked_for():
    bright = PLAIN.replace(scenes=8, faintest_photons=1.0)
    all_, some = stage(bright).batch(0, seeded()), stage(bright.replace(faintest_photons=2000)).batch(0, seeded())
    assert torch.equal(all_.photons, some.photons)
    assert len(some.truth.x) == int((all_.truth.photons.exp() >= 2000).sum())


def test_an_scmos_camera_gives_photons_too():
    batch = stage(PLAIN.replace(scenes=20), camera="prime95b").batch(0, seeded())
    assert float(batch.photons.mean()) == pytest.approx(52, rel=0.1)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_samplers_fill_the_depth_and_differ_between_scenes(name):
    scene = torch.arange(5).repeat_interleave(400)
    xyz = SAMPLERS[name](scene, 5, FIELD, seeded())
    assert xyz.shape == (2000, 3)
    assert torch.isfinite(xyz).all()
    assert float(xyz[:, 2].min()) >= FIELD.z_nm[0]
    assert float(xyz[:, 2].max()) <= FIELD.z_nm[1]
    inside = (xyz[:, 0] > 0) & (xyz[:, 0] < 6400) & (xyz[:, 1] > 0) & (xyz[:, 1] < 5000)
    assert float(inside.float().mean()) > 0.4
    if name != "csr":
        means = torch.stack([xyz[scene == k, :2].mean(dim=0) for k in range(5)])
        assert float(means.std(dim=0).max()) > 150


def nearest(xyz):
    distance = torch.cdist(xyz, xyz).fill_diagonal_(torch.inf)
    return float(distance.min(dim=1).values.mean())


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"csr", "shuffled"}))
def test_structures_are_more_crowded_than_complete_randomness(name):
    scene = torch.zeros(300, dtype=torch.int64)
    assert nearest(SAMPLERS[name](scene, 1, FIELD, seeded())) < 0.8 * nearest(
        SAMPLERS["csr"](scene, 1, FIELD, seeded())
    )


def test_helices_have_three_strands_at_one_radius():
    scene = torch.zeros(6000, dtype=torch.int64)
    field = Field((6400.0, 6400.0), (-4000.0, 4000.0))  # deep, so that nothing is folded
    xyz = SAMPLERS["three_helix"](scene, 1, field, seeded(5))
    # a strand is a line: most neighbours within 100 nm lie in one direction or the opposite
    tree = torch.cdist(xyz[:500], xyz)
    near = (tree < 150) & (tree > 0)
    elongation = []
    for k in range(0, 500, 10):
        points = xyz[near[k]] - xyz[near[k]].mean(dim=0)
        values = torch.linalg.svdvals(points)
        elongation.append(float(values[0] / values[1]))
    assert np.median(elongation) > 3


def test_a_table_gives_its_own_structure():
    rng = np.random.default_rng(0)
    along = rng.uniform(0, 30_000, 20_000)
    line = torch.from_numpy(np.column_stack([along, 0.5 * along, 300 + 0 * along]).astype(np.float32))
    xyz = table(line)(torch.zeros(500, dtype=torch.int64), 1, FIELD, seeded())
    slope, _ = np.polyfit(xyz[:, 0].numpy(), xyz[:, 1].numpy(), 1)
    assert slope == pytest.approx(0.5, abs=0.01)
    with pytest.raises(InputError, match="table of positions"):
        table(torch.empty(0, 3))


def test_mixtures_are_resolved_and_mistakes_refused():
    assert mixture({"structures": 1.0})["tubes"] == pytest.approx(0.4)
    assert sum(mixture({"structures": 2.0, "csr": 1.0}).values()) == pytest.approx(1.0)
    for wrong in ({"helix": 1.0}, {"csr": 0.0}):
        with pytest.raises(InputError, match="mixture"):
            mixture(wrong)


@pytest.mark.parametrize(
    "change", [{"photons": [0, 10]}, {"photons": [20, 10]}, {"shape_px": [50, 48]}, {"stray": [-1, 0]}]
)
def test_settings_that_make_no_sense_are_refused(change):
    with pytest.raises(InputError):
        SceneSettings.parse(change)
