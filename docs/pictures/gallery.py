"""Make the pictures of docs/simulator.md: every packaged scene as table, wide-field image and movie frame.

python docs/pictures/gallery.py [SCENE ...]
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import Normal, Stroke
from PIL import Image

from lucule import Localizations, Region, simulate, view

FOLDER = Path(__file__).parents[1] / "images" / "simulator"
# side of the part that is shown, um (None: the whole field), and what is coloured by
VIEWS: dict[str, tuple[float | None, str | None]] = {
    "axon": (4, None),
    "cell": (None, "channel"),
    "clusters": (6, "true_label"),
    "clusters_3d": (5, "z"),
    "helices": (None, "z"),
    "microtubules": (8, "z"),
    "nuclear_pores": (2, None),
    "origami": (0.7, None),
    "reticulum": (10, None),
    "sarcomere": (3, None),
    "sarcomere_varied": (4, "true_label"),
    "shapes": (8, "true_label"),
    "three_tubes": (None, "z"),
    "uniform": (6, None),
}
# images show at least so much around it, um
IMAGE_SIDE_UM = 12.0
PANEL_PX = 300


def window(scene: simulate.Scene, locs: Localizations, side_um: float | None) -> tuple[float, float, float, float]:
    """Part of the field that is shown, um: the fullest one of its size."""
    width, height = scene.field.size_um
    if side_um is None:
        return 0.0, 0.0, width, height
    edges = [np.linspace(0.15, 0.85, 15) * 1000 * size for size in (width, height)]
    weights = (locs["structure"] >= 0).astype(float) + 1e-3
    counts, x, y = np.histogram2d(locs["true_x"], locs["true_y"], bins=edges, weights=weights)
    i, j = np.unravel_index(np.argmax(counts), counts.shape)
    x0 = float(np.clip(x[i] / 1000 + width / 40 - side_um / 2, 0, width - side_um))
    y0 = float(np.clip(y[j] / 1000 + height / 40 - side_um / 2, 0, height - side_um))
    return x0, y0, x0 + side_um, y0 + side_um


def show(ax: Axes, image: np.ndarray, bounds: tuple[float, float, float, float], title: str) -> None:
    """One panel with a scale bar."""
    x0, y0, x1, y1 = bounds
    limits = {} if image.ndim == 3 else {"vmin": np.quantile(image, 0.01), "vmax": np.quantile(image, 0.998)}
    ax.imshow(image, cmap="gray", extent=(x0, x1, y1, y0), interpolation="nearest", **limits)
    ax.set_xlim(x0, x1)
    ax.set_ylim(y1, y0)
    size = 10.0 ** np.floor(np.log10((x1 - x0) / 3))
    size *= max(factor for factor in (1, 2, 5) if factor * size <= (x1 - x0) / 3)
    right, low = x1 - 0.05 * (x1 - x0), y1 - 0.05 * (y1 - y0)
    ax.plot([right - size, right], [low, low], color="white", linewidth=3, solid_capstyle="butt",
            path_effects=[Stroke(linewidth=5, foreground="black"), Normal()])  # fmt: skip
    text = f"{size:g} µm" if size >= 1 else f"{1000 * size:g} nm"
    outline = [Stroke(linewidth=2, foreground="black"), Normal()]
    ax.text(
        right - size / 2, low - 0.02 * (y1 - y0), text, color="white", ha="center", va="bottom", fontsize=8,
        path_effects=outline,
    )  # fmt: skip
    ax.set_title(title, fontsize=9, loc="left", pad=3)
    ax.set_axis_off()


def around(inner: tuple[float, float, float, float], size: tuple[float, float]) -> tuple[float, float, float, float]:
    """The part that the images show, um."""
    x0, y0, x1, y1 = inner
    wide = max(IMAGE_SIDE_UM, x1 - x0)
    left = float(np.clip((x0 + x1 - wide) / 2, 0, max(size[0] - wide, 0)))
    top = float(np.clip((y0 + y1 - wide) / 2, 0, max(size[1] - wide, 0)))
    return left, top, min(left + wide, size[0]), min(top + wide, size[1])


def busiest(movie: simulate.Movie, bounds: tuple[float, float, float, float]) -> int:
    """A frame with many photons in the part that is shown, though not the most."""
    x0, y0, x1, y1 = (1000 * edge for edge in bounds)
    emitters = movie.truth.emitters
    inside = (emitters["x"] > x0) & (emitters["x"] < x1) & (emitters["y"] > y0) & (emitters["y"] < y1)
    light = np.bincount(emitters["frame"][inside], weights=emitters["photons"][inside], minlength=len(movie))
    return int(np.argsort(light, kind="stable")[int(0.97 * len(movie))])


def reduced(picture: Image.Image) -> Image.Image:
    """Few colours: those of the table, and greys for the rest."""
    left = picture.crop((0, 0, picture.width // 3, picture.height)).quantize(96).getpalette()[: 3 * 96]
    middle = picture.crop((picture.width // 3, 0, 2 * picture.width // 3, picture.height)).quantize(64).getpalette()
    greys = [level for level in range(0, 256, 4) for _ in "rgb"]
    palette = Image.new("P", (1, 1))
    palette.putpalette((left + middle[: 3 * 64] + greys)[: 3 * 256])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def strip(name: str) -> Path:
    """Make and write the pictures of one scene."""
    scene = simulate.load_scene(name)
    side_um, colour_by = VIEWS[name]
    locs = simulate.localizations(scene, seed=1)
    bounds = window(scene, locs, side_um)
    x0, y0, x1, y1 = bounds
    region = Region.rectangle(*(1000 * edge for edge in bounds))
    pixel_nm = 1000 * (x1 - x0) / PANEL_PX
    coloured = colour_by if colour_by is None or colour_by in locs else None
    shown = locs
    if coloured == "true_label" and len(np.unique(locs["true_label"])) == 1:
        coloured = None
    if coloured in ("true_label", "channel"):  # drawn as labels
        shown = locs.with_columns(label=locs[coloured].astype(np.uint8))
        coloured = "label"
    table = view.render(shown, pixel_nm=pixel_nm, method="gaussian", region=region, colour_by=coloured).rgb
    inside = int(region.contains(locs.xy()).sum())
    part, bounds = bounds, around(bounds, scene.field.size_um)
    x0, y0, x1, y1 = bounds
    pixel_size_nm = max(65.0, 1000 * (x1 - x0) / PANEL_PX)
    image = simulate.widefield(scene, seed=1, bounds_um=bounds, pixel_size_nm=pixel_size_nm, photons_per_dye=60)
    light = np.zeros((*image.counts.shape[1:], 3))
    if len(image.names) == 1:
        light = image.counts[0].astype(float)
    for channel, colour in zip(image.counts, ((0.2, 1, 0.2), (0.2, 0.5, 1), (1, 0.2, 0.8)), strict=False):
        if len(image.names) > 1:
            low, high = np.quantile(channel, [0.05, 0.998])
            light += np.clip((channel - low) / (high - low), 0, 1)[..., None] * colour
    movie, _ = simulate.movie(scene, seed=1)
    number = busiest(movie, bounds)
    across, down = movie.imaging.camera.pixel_size_nm
    rows = slice(int(1000 * y0 / down), int(np.ceil(1000 * y1 / down)))
    columns = slice(int(1000 * x0 / across), int(np.ceil(1000 * x1 / across)))
    frame = movie[number, rows, columns]
    edges = (columns.start * across / 1000, rows.start * down / 1000,
             (columns.start + frame.shape[1]) * across / 1000, (rows.start + frame.shape[0]) * down / 1000)  # fmt: skip
    figure, axes = plt.subplots(1, 3, figsize=(3 * PANEL_PX / 100, PANEL_PX / 100 + 0.22), dpi=100)
    figure.subplots_adjust(left=0.003, right=0.997, bottom=0.003, top=0.93, wspace=0.02)
    colouring = {"true_label": ", by class", "channel": ", by channel", "z": ", by z"}[colour_by] if coloured else ""
    show(axes[0], table, part, f"{inside:,} localizations{colouring}")
    show(axes[1], np.clip(light, 0, 1) if light.ndim == 3 else light, bounds, "wide field")
    show(axes[2], frame, edges, f"movie, frame {number:,}")
    for ax in axes[1:]:
        ax.set_xlim(x0, x1)
        ax.set_ylim(y1, y0)
        if part != bounds:
            ax.add_patch(plt.Rectangle(part[:2], part[2] - part[0], part[3] - part[1], fill=False, edgecolor="0.7"))
    buffer = io.BytesIO()
    figure.savefig(buffer, facecolor="white")
    plt.close(figure)
    target = FOLDER / f"{name}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    reduced(Image.open(buffer).convert("RGB")).save(target, optimize=True)
    return target


if __name__ == "__main__":
    for chosen in sys.argv[1:] or simulate.scenes():
        strip(chosen)
