"""Wide-field images: light where the molecules are, channels, masks, slides."""

from __future__ import annotations

import numpy as np
import pytest

from lucule import simulate
from lucule.core import InputError
from lucule.simulate.sample import draw_sample, label_sample
from lucule.simulate.scene import load_scene
from lucule.simulate.slide import Slide

FIBROBLASTS = {"fibroblast": {"scene": "cell", "density_per_mm2": 80}}


def test_all_light_arrives_where_the_molecules_are() -> None:
    scene = load_scene("uniform", **{"molecules.specimen.density_per_um2": 2})
    image = simulate.widefield(scene, seed=1, channels=["dyes"], photons_per_dye=50, background_photons=0)
    dyes = label_sample(draw_sample(scene, seed=1))
    assert image.expected.sum() == pytest.approx(50 * len(dyes), rel=0.02)  # some falls beside the field
    x, y = (np.floor(dyes[axis] / 100).astype(int) for axis in "xy")
    assert image.expected[0, y, x].mean() > 3 * image.expected.mean()


@pytest.mark.parametrize("pixel_size_nm", [65.0, 200.0, 1000.0])
def test_any_magnification_holds_the_same_light(pixel_size_nm) -> None:
    image = simulate.widefield("uniform", seed=1, pixel_size_nm=pixel_size_nm, background_photons=0)
    reference = simulate.widefield("uniform", seed=1, pixel_size_nm=100, background_photons=0)
    assert image.expected.shape[1:] == tuple(int(np.ceil(20_000 / pixel_size_nm)) for _ in "yx")
    assert image.expected.sum() == pytest.approx(float(reference.expected.sum()), rel=0.01)


def test_channels_and_masks() -> None:
    image = simulate.widefield("cell", seed=1, channels=["microtubules", "pores", "nucleus"], background_photons=0)
    nucleus, cell = image.masks["nucleus"], image.masks["cell"]
    assert (cell | ~nucleus).all()
    assert (image.masks["cytoplasm"] == (cell & ~nucleus)).mean() > 0.999
    tubes, pores, stain = image.expected
    assert pores[nucleus].mean() > 50 * pores[~cell].mean()
    assert stain[nucleus].mean() > 50 * stain[~nucleus].mean()
    assert tubes[cell & ~nucleus].mean() > tubes[nucleus].mean()
    assert simulate.widefield("cell", seed=1).names == ("channel 0", "channel 1", "channel 2")


def test_a_window_is_a_part() -> None:
    whole = simulate.widefield("cell", seed=1, channels=["microtubules"]).expected
    part = simulate.widefield("cell", seed=1, channels=["microtubules"], bounds_um=(5, 10, 12, 20)).expected
    np.testing.assert_allclose(part, whole[:, 100:200, 50:120], rtol=1e-4, atol=1e-3)


def test_same_bits() -> None:
    first, again = (simulate.widefield("clusters", seed=3, camera=None) for _ in range(2))
    np.testing.assert_array_equal(first.counts, again.counts)
    assert first.counts.dtype == np.uint16


def test_overview_of_a_slide() -> None:
    slide = Slide(size_um=(300, 200), cells=FIBROBLASTS)
    image = simulate.widefield(slide, seed=1, channels=["cell", "nucleus"], pixel_size_nm=650)
    cells = slide.overview(seed=1)
    assert set(np.unique(image.masks["cell"])) == {0, *(cells["cell"] + 1)}
    row = cells.row(0, named=True)
    assert image.masks["nucleus"][int(row["y_um"] / 0.65), int(row["x_um"] / 0.65)] == 1
    on = image.expected[0][image.masks["cell"] > 0].mean()
    assert on > 5 * image.expected[0][image.masks["cell"] == 0].mean()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"channels": ["tubes"]}, "no such channel"),
        ({"channels": ["nucleus"]}, "no nucleus"),
        ({"bounds_um": (5, 5, 5, 9)}, "window is empty"),
        ({"pixel_size_nm": 0}, "pixel_size_nm"),
        ({"pixel_size_nm": 0.5}, "too large"),
        ({"magnification": 60}, "magnification"),
    ],
)
def test_bad_input(arguments, said) -> None:
    with pytest.raises(InputError, match=said):
        simulate.widefield("clusters", seed=1, **arguments)
