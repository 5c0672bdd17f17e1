"""Images of any kind look alike to a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from lucule.core import FormatError, InputError
from lucule.segment.images import as_image, brightness, normalised, open_image


def scene(noise: float = 0.0) -> np.ndarray:
    image = np.full((120, 160), 10.0)
    image[30:60, 40:90] = 100
    return image + np.random.default_rng(1).normal(0, noise, image.shape) if noise else image


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "png", "png16", "npy", "tiled", "deflate", "imagej"])
def test_any_bit_depth_and_file_looks_the_same(tmp_path: Path, kind: str) -> None:
    factor = {"uint16": 400, "png16": 400, "float32": 0.013}.get(kind, 1)
    path = tmp_path / ("a.npy" if kind == "npy" else "a.png" if "png" in kind else "a.tif")
    values = scene() * factor
    if kind == "npy":
        np.save(path, values)
    elif "png" in kind:
        Pillow.fromarray(values.astype("uint16" if kind == "png16" else "uint8")).save(path)
    else:
        dtype = kind if kind in ("uint8", "uint16", "float32") else "uint16"
        options = {"tiled": {"tile": (32, 32)}, "deflate": {"compression": "zlib"}, "imagej": {"imagej": True}}
        tifffile.imwrite(path, values.astype(dtype), **options.get(kind, {}))
    with open_image(path) as image:
        seen = normalised(image.whole(), brightness(image))
        part = normalised(image.window(slice(20, 70), slice(30, 100)), brightness(image))
    assert seen.shape == (3, 120, 160)
    assert seen[:, 40, 60] == pytest.approx(1, abs=0.02)
    assert seen[:, 5, 5] == pytest.approx(0, abs=0.02)
    assert np.array_equal(part, seen[:, 20:70, 30:100])


@pytest.mark.parametrize(
    ("shape", "axes", "channels"),
    [((120, 160, 3), "YXS", 3), ((120, 160, 4), "YXS", 3), ((2, 120, 160), "CYX", 2), ((1, 120, 160), "CYX", 1)],
)
def test_channels(tmp_path: Path, shape: tuple[int, ...], axes: str, channels: int) -> None:
    values = np.random.default_rng(2).integers(0, 255, shape, dtype=np.uint8)
    colour = {"photometric": "rgb"} if axes == "YXS" else {"photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", values, metadata={"axes": axes}, **colour)
    with open_image(tmp_path / "a.tif") as image:
        assert image.shape == (120, 160)
        assert image.channels == channels
        assert normalised(image.whole(), brightness(image)).shape == (3, 120, 160)


def test_the_negative_is_dark_where_there_is_no_object() -> None:
    values = 200 - scene(2.0)
    light = replace(brightness(values), dark=True)
    seen = normalised(values[None].astype(np.float32), light)
    assert np.median(seen[:, 40, 60]) == pytest.approx(1, abs=0.1)
    assert np.median(seen[:, :20]) == pytest.approx(0, abs=0.1)
    assert light.background == pytest.approx(190, abs=10)
    assert brightness(values).background == pytest.approx(100, abs=10)
    flat = np.random.default_rng(1).normal(190, 2, (64, 64))  # no object: as dark as in an image with bright objects
    assert normalised(flat[None].astype(np.float32), replace(brightness(flat), dark=True)).max() < 1


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_grey_image_in_false_colour_looks_like_a_grey_one(channel: int) -> None:
    grey = scene(2.0).clip(0, 255).astype(np.uint8)
    colour = np.zeros((*grey.shape, 3), np.uint8)
    colour[..., channel] = grey
    seen = [normalised(image.whole(), brightness(image)) for image in (as_image(grey), as_image(colour))]
    assert np.array_equal(*seen)
    colour[..., (channel + 1) % 3] = 255 - grey
    two = as_image(colour)
    assert brightness(two).only is None


def test_a_few_bright_pixels_on_nothing_are_what_is_bright() -> None:
    image = np.zeros((200, 200), np.uint16)
    image[90:95, 90:95] = 700
    light = brightness(image)
    assert (light.low, light.high) == ((0.0,), (700.0,))
    assert brightness(np.zeros_like(image)).contrast == 0


def test_an_empty_image_stays_dark() -> None:
    """Noise is not stretched to the brightness of objects, those of an image with objects are."""
    noise = np.random.default_rng(3).normal(100, 5, (200, 200))
    empty = normalised(as_image(noise).whole(), brightness(noise))
    assert empty.max() < 1.1
    assert empty.std() < 0.15
    full = scene(1.0)
    assert normalised(as_image(full).whole(), brightness(full))[0, 45, 60] == pytest.approx(1, abs=0.1)


def test_noise_is_measured() -> None:
    assert brightness(scene(4.0)).noise[0] == pytest.approx(4, rel=0.1)
    assert brightness(scene()).noise == (0.0,)
    assert brightness(np.full((50, 50), 7)).contrast == 0


@pytest.mark.parametrize("shape", [(5,), (4, 5, 6, 7), (8, 30, 40), (0, 5)])
def test_what_is_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="not an image"):
        as_image(np.zeros(shape))


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.npy"])
@pytest.mark.parametrize("content", [b"", b"nothing that is an image"])
def test_files_that_are_no_images(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError), open_image(tmp_path / name):
        pass


@pytest.mark.parametrize("name", ["a.tif", "z.tif", "a.png", "a.npy"])
def test_files_that_are_cut_off(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    values = np.random.default_rng(4).integers(0, 255, (120, 160), dtype=np.uint8)
    if name == "a.npy":
        np.save(path, values)
    elif name == "a.png":
        Pillow.fromarray(values).save(path)
    else:
        tifffile.imwrite(path, values, compression="zlib" if name == "z.tif" else None)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FormatError), open_image(path):
        pass


def test_pictures_that_move(tmp_path: Path) -> None:
    frames = [Pillow.fromarray(np.full((20, 20), value, np.uint8)) for value in (0, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="more than one image"), open_image(tmp_path / "a.gif"):
        pass


@pytest.mark.parametrize("dtype", ["complex64", "U3", "object"])
def test_what_is_no_real_number(dtype: str) -> None:
    with pytest.raises(InputError, match="real numbers"):
        as_image(np.zeros((9, 9), dtype))


def test_numbers_beyond_float32() -> None:
    light = brightness(scene() * 1e30)
    assert np.isfinite(light.noise).all()
    with pytest.raises(InputError, match="holds no number"):
        brightness(scene() * 1e300)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such image"), open_image(tmp_path / "b.tif"):
        pass
    tifffile.imwrite(tmp_path / "z.tif", np.zeros((5, 20, 20), np.uint8), metadata={"axes": "ZYX"})
    with pytest.raises(InputError, match="more than one image"), open_image(tmp_path / "z.tif"):
        pass
    with pytest.raises(InputError, match="no number"):
        brightness(np.full((9, 9), np.nan))
