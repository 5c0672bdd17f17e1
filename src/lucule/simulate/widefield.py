"""Wide-field images: all labels bright at once, at any magnification, in several channels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Annotated, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import gaussian_filter

from lucule.core import Camera, Config, InputError
from lucule.simulate.camera import expose, load_camera
from lucule.simulate.chain import Dyes
from lucule.simulate.imaging import channel_of_layers, channels_of
from lucule.simulate.optics import Gaussian, compile_psf, kernels
from lucule.simulate.optics.fields import pixel_centres, random_structure
from lucule.simulate.sample import Sample, draw_sample, label_sample
from lucule.simulate.scene import Objective, Scene, load_scene
from lucule.simulate.slide import Slide
from lucule.simulate.specimens.base import Outline
from lucule.simulate.streams import key

Floats: TypeAlias = NDArray[np.float32]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

SHAPES: Final = ("cell", "nucleus", "cytoplasm")
_DEEPEST_NM: Final = 1e6
_PIXELS_MAX: Final = 100_000_000
# a dye in a scene without wavelength, and stains of whole shapes
_EMISSION_NM: Final = 600.0
_TEXTURE, _TEXTURE_NM = 0.25, 1500.0


class Widefield(Config):
    """How a wide-field image is taken.

    Attributes
    ----------
    pixel_size_nm
        Size of a pixel in the sample.
    photons_per_dye
        Photons on the sensor from each dye in one exposure.
    shape_photons
        Photons per um2 from stained shapes (`cell`, `nucleus`, `cytoplasm`) in one exposure.
    background_photons
        Photons per pixel besides.
    objective
        Its numerical aperture sets the width 0.21 wavelength / NA of the PSF, and how fast it grows with defocus.
    camera
        Camera settings; its pixel size is not used.
    """

    pixel_size_nm: Positive = 100.0
    photons_per_dye: NotNegative = 20.0
    shape_photons: NotNegative = 20_000.0
    background_photons: NotNegative = 20.0
    objective: Objective | None = None
    camera: Camera | None = None


@dataclass(frozen=True, slots=True, eq=False)
class WidefieldImage:
    """Wide-field images of one field.

    Attributes
    ----------
    counts
        What the camera gives, uint16 `(channels, rows, columns)`.
    expected
        Photons without noise, float32, same shape.
    names
        Names of the channels.
    masks
        Which pixels lie inside the cell, the nucleus, ..., bool `(rows, columns)`; of a slide, the number of the cell
        plus 1, int32, 0 = none.
    pixel_size_nm, corner_nm
        Size of a pixel, and position (x, y) of the outer corner of pixel (0, 0).
    """

    counts: NDArray[np.uint16]
    expected: Floats
    names: tuple[str, ...]
    masks: dict[str, NDArray[Any]]
    pixel_size_nm: float
    corner_nm: tuple[float, float]

    def __repr__(self) -> str:
        _, rows, columns = self.counts.shape
        masks = ", ".join(self.masks) or "none"
        return (
            f"WidefieldImage({rows} x {columns} px of {self.pixel_size_nm:g} nm, "
            f"channels: {', '.join(self.names)}; masks: {masks})"
        )


def widefield(
    scene: Scene | Slide | str | os.PathLike[str],
    *,
    seed: int = 1,
    channels: Sequence[str] | None = None,
    bounds_um: tuple[float, float, float, float] | None = None,
    settings: Widefield | None = None,
    **changes: Any,
) -> WidefieldImage:
    """Take wide-field images of a scene, or of a part of a slide; the molecules are those of `movie`.

    Parameters
    ----------
    scene
        A scene, the name of a packaged one, a YAML file, or a slide.
    seed
        The same seed gives the same bits.
    channels
        What is stained in each channel: names of layers, `channel 0`, ... for all layers of a colour, `dyes` for all,
        or `cell`, `nucleus`, `cytoplasm`. By default one for each colour of a scene; `cell` for a slide.
    bounds_um
        Window (x_min, y_min, x_max, y_max); by default the whole field or slide.
    settings, changes
        How the image is taken; single settings may be given by name.

    Raises
    ------
    InputError
        There is no such channel, the window is empty, or the image is too large.

    Examples
    --------
    >>> image = widefield("cell", seed=1, channels=["microtubules", "nucleus"], pixel_size_nm=200)
    >>> image.counts.shape
    (2, 150, 150)
    """
    how = (settings or Widefield()).replace(**changes)
    source = scene if isinstance(scene, Slide) else load_scene(scene)
    if bounds_um is None:
        size = source.size_um if isinstance(source, Slide) else source.field.size_um
        bounds_um = (0.0, 0.0, *size)
    shape = _shape(bounds_um, how.pixel_size_nm)
    if isinstance(source, Slide):
        names = tuple(channels or ("cell",))
        parts = [
            (source.corner_nm(cell, seed=seed), cell) for cell in source.visible(bounds_um, seed=seed)["cell"].to_list()
        ]
    else:
        names = tuple(channels or (f"channel {channel}" for channel in channels_of(source)))
        parts = [((0.0, 0.0), 0)]
    corner = (1000 * bounds_um[0], 1000 * bounds_um[1])
    expected = np.zeros((len(names), *shape), np.float32)
    masks: dict[str, NDArray[Any]] = {}
    for place, cell in parts:
        offset = (place[0] - corner[0], place[1] - corner[1])
        if isinstance(source, Slide):
            shapes = source.shapes(cell, seed=seed)
            sample = source.sample(cell, seed=seed) if set(names) - set(SHAPES) else None
            _add(expected, names, shapes, sample, offset, how, seed + cell)
            for name in set(shapes) & set(SHAPES):
                mask = masks.setdefault(name, np.zeros(shape, np.int32))
                window, inside = _inside(shapes[name], shape, offset, how.pixel_size_nm)
                mask[window][inside] = cell + 1
        else:
            sample = draw_sample(source, seed=seed)
            _add(expected, names, sample.shapes, sample, offset, how, seed)
            for name in set(sample.shapes) & set(SHAPES):
                mask = masks.setdefault(name, np.zeros(shape, np.bool_))
                window, inside = _inside(sample.shapes[name], shape, offset, how.pixel_size_nm)
                mask[window] |= inside
    expected += np.float32(how.background_photons)
    camera = how.camera or load_camera("orca_flash4")
    counts = np.concatenate(
        [
            expose(image[None], camera, seed=int(key(seed, "widefield", name)))
            for name, image in zip(names, expected, strict=True)
        ]
    )
    return WidefieldImage(counts, expected, names, dict(sorted(masks.items())), how.pixel_size_nm, corner)


def _shape(bounds_um: tuple[float, float, float, float], pixel_size_nm: float) -> tuple[int, int]:
    x0, y0, x1, y1 = bounds_um
    if not (x1 > x0 and y1 > y0):
        raise InputError("The window is empty", received=bounds_um, allowed="x_min < x_max and y_min < y_max, um")
    rows, columns = (ceil(1000 * side / pixel_size_nm - 1e-6) for side in (y1 - y0, x1 - x0))
    if rows * columns > _PIXELS_MAX:
        raise InputError(
            "The image is too large",
            received=f"{rows} x {columns} pixels",
            allowed=f"up to {_PIXELS_MAX:,} pixels",
            next_step="choose a smaller window or larger pixels",
        )
    return rows, columns


def _add(
    expected: Floats,
    names: tuple[str, ...],
    shapes: dict[str, Outline],
    sample: Sample | None,
    offset: tuple[float, float],
    how: Widefield,
    seed: int,
) -> None:
    """Add the light of one field, which begins at `offset`, to all channels."""
    dyes = label_sample(sample) if sample is not None and set(names) - set(SHAPES) else None
    for image, name in zip(expected, names, strict=True):
        if name in SHAPES:
            if name not in shapes:
                raise InputError(
                    f"The field has no {name}", allowed=", ".join(n for n in SHAPES if n in shapes) or "names of layers"
                )
            _add_shape(image, shapes[name], offset, how, seed)
        elif sample is not None and dyes is not None:
            _add_dyes(image, dyes, _rows(dyes, sample.scene, name), sample.scene, offset, how)


def _rows(dyes: Dyes, scene: Scene, name: str) -> NDArray[np.bool_]:
    layers = list(scene.layers)
    rows: NDArray[np.bool_] = np.ones(len(dyes), np.bool_)
    if name == "dyes":
        return rows
    if name in layers:
        rows = dyes["layer"] == layers.index(name)
        return rows
    for channel in channels_of(scene):
        if name == f"channel {channel}":
            rows = channel_of_layers(scene)[dyes["layer"]] == channel
            return rows
    known = ["dyes", *layers, *(f"channel {channel}" for channel in channels_of(scene)), *SHAPES]
    raise InputError("There is no such channel", received=name, allowed=", ".join(known))


def psf_of(objective: Objective, wavelength_nm: float) -> Gaussian:
    """Gaussian of the width of an objective's PSF, for any depth.

    sigma = 0.21 wavelength / NA (Zhang et al. 2007, Applied Optics 46, 1819); it grows by sqrt(2) within half the depth
    of field, n wavelength / (2 NA^2).
    """
    na = objective.numerical_aperture
    depth = objective.immersion_index * wavelength_nm / (2 * na**2)
    return Gaussian(sigma_nm=0.21 * wavelength_nm / na, depth_nm=depth, z_range_nm=(-_DEEPEST_NM, _DEEPEST_NM))


def _add_dyes(
    image: Floats,
    dyes: Dyes,
    rows: NDArray[np.bool_],
    scene: Scene,
    offset: tuple[float, float],
    how: Widefield,
) -> None:
    if not rows.any():
        return
    layer = list(scene.layers.values())[dyes["layer"][rows.argmax()]]
    wavelength = (layer.dye or scene.dye).emission_nm or _EMISSION_NM
    kernel = compile_psf(psf_of(how.objective or scene.objective, wavelength), how.pixel_size_nm)
    x, y, z = (dyes[axis][rows] for axis in "xyz")
    kernels.add_to_frame(image, kernel.model, x + offset[0], y + offset[1], z, np.full(len(x), how.photons_per_dye))


def _inside(
    outline: Outline, shape: tuple[int, int], offset: tuple[float, float], pixel_size_nm: float
) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """Rows and columns around an outline, and which of the pixels there lie inside."""
    x0, y0, x1, y1 = outline.bounds_nm
    columns = slice(*_clipped(x0 + offset[0], x1 + offset[0], pixel_size_nm, shape[1]))
    rows = slice(*_clipped(y0 + offset[1], y1 + offset[1], pixel_size_nm, shape[0]))
    x = (np.arange(columns.start, columns.stop) + 0.5) * pixel_size_nm - offset[0]
    y = (np.arange(rows.start, rows.stop) + 0.5) * pixel_size_nm - offset[1]
    points = np.stack(np.meshgrid(x, y), axis=-1)
    return (rows, columns), outline.contains(points.reshape(-1, 2)).reshape(points.shape[:2])


def _clipped(low: float, high: float, pixel: float, size: int) -> tuple[int, int]:
    first = min(max(int(low // pixel), 0), size)
    return first, min(max(int(high // pixel) + 1, first), size)


def _add_shape(image: Floats, outline: Outline, offset: tuple[float, float], how: Widefield, seed: int) -> None:
    """A stained volume: bright inside, with a smooth texture, blurred at its border."""
    window, inside = _inside(outline, (image.shape[0], image.shape[1]), offset, how.pixel_size_nm)
    if not inside.any():
        return
    x, y, _ = pixel_centres((inside.shape[0], inside.shape[1]), how.pixel_size_nm)
    # in the frame of the field: the texture stays where it is when the window moves
    x, y = x + window[1].start * how.pixel_size_nm - offset[0], y + window[0].start * how.pixel_size_nm - offset[1]
    texture = np.clip(1 + _TEXTURE * random_structure(x, y, _TEXTURE_NM, seed, "stain"), 0.2, None)
    light = inside * texture * (how.shape_photons * (how.pixel_size_nm / 1000) ** 2)
    blur = psf_of(how.objective or Objective(), _EMISSION_NM).sigma_nm / how.pixel_size_nm
    image[window] += gaussian_filter(light, max(blur, 0.5)).astype(np.float32)
