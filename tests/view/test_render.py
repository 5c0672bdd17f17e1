from __future__ import annotations

import numpy as np
import pytest

from lucule.core import ColumnError, InputError, Localizations, Region
from lucule.view import render
from lucule.view.colours import BLUE, CLUSTER_COLOURS, GOLD, GREY, cluster_palette, colour_table
from lucule.view.picture import ColourBar, Swatches

AREA = Region.rectangle(0, 0, 100, 60)
METHODS = ("histogram", "gaussian", "points")


def spots(**columns: object) -> Localizations:
    return Localizations({"x": [15.0, 85.0], "y": [15.0, 45.0], "x_err": [4.0, 4.0], **columns})


def hue(pixel: np.ndarray) -> np.ndarray:
    return pixel / pixel.max()


@pytest.mark.parametrize("method", METHODS)
def test_bright_where_the_localizations_are(method: str) -> None:
    picture = render(spots(), pixel_nm=10, region=AREA, method=method, spot_nm=12, colormap="gray")  # type: ignore[arg-type]
    light = picture.rgb.sum(axis=2)
    assert light.shape == (6, 10)
    brightest = sorted(map(tuple, np.argwhere(light == light.max()).tolist()))
    assert brightest == [(1, 1), (4, 8)]


@pytest.mark.parametrize("method", METHODS)
def test_labels_are_gold_and_blue(method: str) -> None:
    locs = spots(label=np.array([1, 0], np.uint8))
    picture = render(locs, pixel_nm=10, region=AREA, method=method, colour_by="label", spot_nm=12)  # type: ignore[arg-type]
    np.testing.assert_allclose(hue(picture.rgb[1, 1]), hue(np.array(GOLD)), atol=0.02)
    np.testing.assert_allclose(hue(picture.rgb[4, 8]), hue(np.array(BLUE)), atol=0.02)
    assert picture.legend == Swatches((("clustered", GOLD), ("not clustered", BLUE)))


def test_names_of_labels_reach_the_legend() -> None:
    locs = spots(label=np.array([2, 0], np.uint8))
    picture = render(locs, region=AREA, colour_by="label", label_names={0: "none", 1: "round", 2: "fibre"})
    assert isinstance(picture.legend, Swatches)
    assert [text for text, _ in picture.legend.entries] == ["fibre", "none"]


def test_depth_is_the_mean_of_z_in_the_pixel() -> None:
    locs = Localizations({"x": [15.0, 15.0, 85.0, 45.0], "y": [15.0] * 4, "z": [-100.0, 300.0, 100.0, 500.0]})
    picture = render(locs, pixel_nm=10, region=AREA, colour_by="z", colour_range=(-500, 500), gamma=1)
    # two localizations of mean depth 100 and one of depth 100: the same hue, twice the brightness
    np.testing.assert_allclose(hue(picture.rgb[1, 1]), hue(picture.rgb[1, 8]), atol=0.02)
    assert int(picture.rgb[1, 1].max()) == pytest.approx(2 * int(picture.rgb[1, 8].max()), abs=3)
    assert abs(hue(picture.rgb[1, 4]) - hue(picture.rgb[1, 8])).max() > 0.2
    assert isinstance(picture.legend, ColourBar)
    assert (picture.legend.title, picture.legend.low, picture.legend.high) == ("z (nm)", -500, 500)


def test_values_that_are_missing_are_not_drawn_and_named() -> None:
    locs = spots(photons=[np.nan, 100.0])
    picture = render(locs, pixel_nm=10, region=AREA, colour_by="photons")
    assert not picture.rgb[1, 1].any()
    assert picture.rgb[4, 8].any()
    assert isinstance(picture.legend, ColourBar)
    assert "1 without a value" in picture.legend.title


def test_any_number_can_give_the_colour() -> None:
    picture = render(spots(photons=[100.0, 900.0]), region=AREA, colour_by="photons", colormap="viridis")
    assert isinstance(picture.legend, ColourBar)
    assert picture.legend.title == "photons (photons)"


def test_near_clusters_have_different_colours() -> None:
    rng = np.random.default_rng(4)
    centres = rng.uniform(0, 5000, (400, 2)).astype(np.float32)
    colours = cluster_palette(centres)
    distances = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, :5]
    assert not (colours[nearest] == colours[:, None]).all(axis=2).any()
    assert len(np.unique(colours, axis=0)) == len(CLUSTER_COLOURS)
    np.testing.assert_array_equal(colours, cluster_palette(centres))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_colours_of_few_clusters(count: int) -> None:
    assert cluster_palette(np.zeros((count, 2))).shape == (count, 3)


def test_clusters_are_coloured_and_the_rest_is_grey() -> None:
    locs = spots(cluster=np.array([7, -1], np.int32))
    picture = render(locs, pixel_nm=10, region=AREA, colour_by="cluster")
    np.testing.assert_allclose(hue(picture.rgb[1, 1]), hue(np.array(CLUSTER_COLOURS[0])), atol=0.02)
    np.testing.assert_allclose(hue(picture.rgb[4, 8]), hue(np.array(GREY)), atol=0.02)


def test_a_sparse_numbering_of_clusters_is_the_same_as_a_dense_one() -> None:
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 1000, (60, 2))
    dense = np.repeat(np.arange(6), 10).astype(np.int32)
    pictures = [
        render(Localizations({"x": xy[:, 0], "y": xy[:, 1], "cluster": ids}), pixel_nm=20, colour_by="cluster").rgb
        for ids in (dense, dense * 100_000 + 3)
    ]
    np.testing.assert_array_equal(*pictures)


def test_a_polygon_cuts_the_picture() -> None:
    triangle = Region.polygon([(0, 0), (100, 0), (0, 60)])
    picture = render(spots(), pixel_nm=10, region=triangle, colormap="gray")
    assert picture.rgb[1, 1].any()
    assert not picture.rgb[4, 8].any()


def test_gaussians_reach_into_a_rectangle_from_outside() -> None:
    locs = Localizations({"x": [-5.0, 50.0], "y": [30.0, 30.0]})
    picture = render(locs, pixel_nm=5, region=AREA, method="gaussian", sigma_nm=10, colormap="gray")
    assert picture.rgb[6, 0].any()


@pytest.mark.parametrize("method", METHODS)
def test_one_localization_is_seen(method: str) -> None:
    picture = render(Localizations({"x": [1234.0], "y": [777.0], "x_err": [9.0]}), method=method)  # type: ignore[arg-type]
    assert picture.rgb.any()
    light = picture.rgb.sum(axis=2)
    middle = np.argwhere(light > light.max() / 2).mean(axis=0)[::-1]
    position = np.array(picture.origin_nm) + (middle + 0.5) * picture.pixel_nm
    np.testing.assert_allclose(position, (1234, 777), atol=picture.pixel_nm)


def test_a_million_times_the_same_place() -> None:
    locs = Localizations({"x": np.full(1_000_000, 5.0, np.float32), "y": np.full(1_000_000, 5.0, np.float32)})
    assert render(locs).rgb.any()


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_table_needs_a_region(method: str) -> None:
    locs = Localizations({"x": [], "y": [], "x_err": [], "label": np.empty(0, np.uint8)})
    with pytest.raises(InputError, match="no localizations"):
        render(locs, method=method)  # type: ignore[arg-type]
    for colour_by in (None, "label", "x_err"):
        picture = render(locs, method=method, region=AREA, pixel_nm=10, colour_by=colour_by)  # type: ignore[arg-type]
        assert not picture.rgb.max() > 10


def test_automatic_pixels_follow_the_precision() -> None:
    rng = np.random.default_rng(0)
    locs = Localizations({"x": rng.uniform(0, 4000, 50), "y": rng.uniform(0, 4000, 50), "x_err": np.full(50, 12.0)})
    assert render(locs).pixel_nm == 6.0
    assert render(locs, method="gaussian").pixel_nm == 3.0
    assert render(locs, method="points").pixel_nm == 4.0


def test_few_localizations_get_large_dots_and_many_get_small_ones() -> None:
    rng = np.random.default_rng(0)
    few = Localizations({"x": rng.uniform(0, 1000, 20), "y": rng.uniform(0, 1000, 20)})
    many = Localizations({"x": rng.uniform(0, 1000, 20_000), "y": rng.uniform(0, 1000, 20_000)})
    region = Region.rectangle(0, 0, 1000, 1000)
    area = [
        (render(locs, method="points", region=region, pixel_nm=2).rgb.max(axis=2) > 127).sum() / len(locs)
        for locs in (few, many)
    ]
    assert area[0] == pytest.approx(np.pi * 4**2, rel=0.15)
    assert area[1] < np.pi * 1.6**2


def test_clipping_brightens() -> None:
    rng = np.random.default_rng(0)
    locs = Localizations(
        {"x": np.append(rng.uniform(0, 100, 400), [55.0] * 500), "y": np.append(rng.uniform(0, 60, 400), [35.0] * 500)}
    )
    dim, bright = (
        render(locs, pixel_nm=10, region=AREA, clip_percentile=percentile, colormap="gray").rgb.mean()
        for percentile in (100, 90)
    )
    assert bright > 2 * dim


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "blur"}, "rendering method"),
        ({"colormap": "sunset"}, "colormap"),
        ({"clip_percentile": 0}, "clip percentile"),
        ({"clip_percentile": 101}, "clip percentile"),
        ({"gamma": 0}, "gamma"),
        ({"colour_by": "x", "colour_range": (5, 5)}, "colour range"),
        ({"pixel_nm": 0.0001}, "too large"),
        ({"method": "points", "spot_nm": 0}, "diameter"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        render(spots(), **settings)  # type: ignore[arg-type]


def test_columns_that_cannot_give_a_colour() -> None:
    with pytest.raises(ColumnError, match="lucule classify"):
        render(spots(), colour_by="label")
    with pytest.raises(ColumnError, match="no column depth"):
        render(spots(), colour_by="depth")
    with pytest.raises(ColumnError, match="cannot be turned into colours"):
        render(spots(dye=["a", "b"]), colour_by="dye")


def test_depth_colours_are_equally_bright() -> None:
    assert (colour_table("depth").max(axis=1) == 255).all()


def test_positions_far_from_the_origin_are_drawn_where_they_are() -> None:
    locs = Localizations({"x": np.array([999_000.0, 999_400.0]), "y": np.array([-999_000.0, -998_700.0])})
    picture = render(locs, pixel_nm=10)
    assert (picture.rgb.sum(axis=2) > picture.rgb.sum(axis=2).min()).sum() == 2
