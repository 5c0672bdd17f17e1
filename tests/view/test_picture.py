from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lucule.core import InputError
from lucule.view.annotate import INK, annotate, length_text, number_text, scale_bar_nm
from lucule.view.colours import BLUE, GOLD, colour_table
from lucule.view.picture import ColourBar, Picture, Swatches

BAR = ColourBar("z (nm)", -300.0, 450.0, colour_table("depth"))
LABELS = Swatches((("clustered", GOLD), ("not clustered", BLUE)))


def grey(height: int, width: int, pixel_nm: float = 10.0, legend: ColourBar | Swatches | None = None) -> Picture:
    return Picture(np.full((height, width, 3), 60, np.uint8), pixel_nm, (0.0, 0.0), legend)


def longest_run(image: Image.Image, colour: tuple[int, int, int]) -> int:
    """Longest horizontal run of a colour: the scale bar."""
    best = 0
    for row in (np.asarray(image.convert("RGB")) == colour).all(axis=2):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
        best = max(best, int(np.max(edges[1::2] - edges[::2], initial=0)))
    return best


@pytest.mark.parametrize(
    ("height", "width", "pixel_nm"),
    [
        (1600, 2000, 20.0),
        (640, 640, 2.34375),
        (64, 64, 3.0),
        (8, 5, 40.0),
        (20, 2000, 7.0),
        (1000, 30, 7.0),
        (1, 1, 5.0),
    ],
)
def test_the_scale_bar_has_the_length_that_it_names(height: int, width: int, pixel_nm: float) -> None:
    picture = grey(height, width, pixel_nm)
    image = annotate(picture)
    factor = max(1, -(-480 // max(height, width)))
    field_nm = max(width * factor, 300) / factor * pixel_nm
    length_nm = scale_bar_nm(field_nm)
    assert longest_run(image, INK) == pytest.approx(length_nm / pixel_nm * factor, abs=1)
    assert 0.09 * field_nm < length_nm <= 0.25 * field_nm * (1 + 1e-6)


@pytest.mark.parametrize("legend", [None, BAR, LABELS])
@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (900, 3), (300, 500), (2000, 3000)])
def test_writing_fits_on_pictures_of_any_shape(shape: tuple[int, int], legend: ColourBar | Swatches | None) -> None:
    image = annotate(grey(*shape, legend=legend))
    assert image.width >= 300
    assert image.height >= 120
    assert image.width <= max(3000, 960)


def test_the_writing_stays_inside_and_off_the_edges() -> None:
    black = Picture(np.zeros((200, 200, 3), np.uint8), 10.0, (0.0, 0.0))
    lit = np.asarray(annotate(black)).any(axis=2)
    assert lit.any()
    border = np.ones_like(lit)
    border[4:-4, 4:-4] = False
    assert not (lit & border).any()


@pytest.mark.parametrize(
    ("nm", "text"), [(0.2, "0.2 nm"), (50, "50 nm"), (1000, "1 µm"), (20_000, "20 µm"), (5e6, "5 mm")]
)
def test_lengths(nm: float, text: str) -> None:
    assert length_text(nm) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1, "1"),
        (999.6, "1,000"),
        (0.99999, "1"),
        (12.345, "12.3"),
        (2.4e6, "2,400,000"),
        (2.5e10, "2.50e+10"),
        (-0.05, "-0.05"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number_text(value) == text


def test_the_legend_shows_its_colours() -> None:
    pixels = np.asarray(annotate(grey(500, 500, legend=LABELS)))[500:]
    for colour in (GOLD, BLUE):
        assert (pixels == colour).all(axis=2).sum() > 40
    bar = np.asarray(annotate(grey(500, 500, legend=BAR)))[500:]
    assert (bar == BAR.table[0]).all(axis=2).any()
    assert (bar == BAR.table[255]).all(axis=2).any()


def test_without_writing_the_pixels_are_stored_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picture = Picture(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8), 12.5, (100.0, -50.0), LABELS)
    path = picture.save(tmp_path / "plain.png", scale_bar=False, legend=False)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), picture.rgb)
        assert json.loads(image.text["lucule"]) == {"pixel_nm": 12.5, "origin_nm": [100.0, -50.0]}  # type: ignore[attr-defined]


def test_fewer_colours_are_still_the_right_ones() -> None:
    rng = np.random.default_rng(0)
    light = rng.uniform(0, 1, (300, 300, 1))
    pixels = np.where(rng.uniform(size=(300, 300, 1)) < 0.03, light * GOLD, light * BLUE).astype(np.uint8)
    picture = Picture(pixels, 10.0, (0.0, 0.0), LABELS)
    full, small = (np.asarray(Image.open(io.BytesIO(picture.png(colours=n))).convert("RGB")) for n in (None, 256))
    assert np.abs(full.astype(int) - small).mean() < 2
    for colour in (GOLD, BLUE, INK):
        was = (full == colour).all(axis=2)
        assert was.any()
        assert (small[was] == colour).all()
    assert len(picture.png(colours=256)) < 0.7 * len(picture.png())


@pytest.mark.parametrize("colours", [2, 257])
def test_impossible_numbers_of_colours(colours: int) -> None:
    with pytest.raises(InputError, match="number of colours"):
        grey(10, 10).png(colours=colours)


def test_saving_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "picture.png"
    target.write_bytes(b"old")

    def full_disk(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full_disk)
        with pytest.raises(OSError, match="disk full"):
            grey(10, 10).save(target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_only_png(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.png"):
        grey(10, 10).save(tmp_path / "picture.jpg")


@pytest.mark.parametrize("pixels", [np.zeros((5, 5)), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)])
def test_a_picture_needs_pixels(pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match="needs pixels"):
        Picture(pixels, 10.0, (0.0, 0.0))


def test_pixels_cannot_be_changed() -> None:
    picture = grey(5, 5)
    with pytest.raises(ValueError, match="read-only"):
        picture.rgb[0, 0] = 0
    assert "Picture(5 x 5 pixels of 10 nm, 0.05 x 0.05 um)" in repr(picture)
    assert picture._repr_png_().startswith(b"\x89PNG")
