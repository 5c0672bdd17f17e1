"""Make the pictures of docs/segment.md.

python docs/pictures/segment.py NUCLEI_FOLDER
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import shapely
from matplotlib.figure import Figure

from lucule import segment
from lucule.bench.segment import slide
from lucule.segment import PredictSettings, TrainSettings
from lucule.segment.annotations import read
from lucule.segment.samples import size_px
from lucule.segment.scores import scores
from lucule.view.overlay import outlines
from lucule.view.plots import INK
from lucule.view.segmentation import picture_of

FOLDER = Path(__file__).parents[1] / "images" / "segment"
TRAINING, OTHERS = "7f4cbe0b", ("1747f621", "dab46d79", "eea70a79")


def panels(shown: list[tuple[np.ndarray, str, str]], path: Path) -> None:
    """Pictures beside one another, each with a title and a note."""
    # all of one height
    widths = [rgb.shape[1] / rgb.shape[0] for rgb, _, _ in shown]
    width = 3.6 * len(shown)
    figure = Figure(figsize=(width, width / sum(widths) + 0.4), dpi=110, layout="constrained")
    places = np.atleast_1d(figure.subplots(1, len(shown), width_ratios=widths))
    for axes, (rgb, title, note) in zip(places, shown, strict=True):
        axes.imshow(rgb)
        axes.set_axis_off()
        axes.set_title(f"{title}\n{note}", loc="left", color=INK, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor="white", bbox_inches="tight")


def drawn(image: object, shapes: object) -> np.ndarray:
    """An image with outlines in pixels."""
    with segment.open_image(image) as opened:
        return outlines(picture_of(opened), shapes, colour="neighbours").rgb


def few_shot(folder: Path) -> None:
    """Train on five nuclei of one image, show others."""
    known = {}
    for name in (TRAINING, *OTHERS):
        with segment.open_image(folder / f"{name}.png") as image:
            known[name] = read(folder / f"{name}_labels.tif", image.shape)
    five = known[TRAINING].only(list(range(1, 6)))
    rows, columns = np.nonzero(five.objects)
    settings = TrainSettings(crop_px=96, stop_early=False)
    settings = settings.replace(fit=settings.fit.model_dump() | {"seconds": None, "steps": 40})
    with tempfile.TemporaryDirectory() as out:
        segment.train([folder / f"{TRAINING}.png"], [five], out=out, settings=settings, device="cpu")
        model = segment.load(out, device="cpu")
        annotated = shapely.union_all(shapely.box(columns, rows, columns + 1, rows + 1))
        shown = [(drawn(folder / f"{TRAINING}.png", [annotated]), "Annotated", "5 nuclei")]
        for name in OTHERS:
            found = model.predict(folder / f"{name}.png", diameter_px=float(np.median(size_px(known[name]))))
            result = scores(known[name].objects, found.labels())
            note = f"Dice {result.dice:.3f}"
            shown.append((drawn(folder / f"{name}.png", found.outlines()), "Found", note))
    panels(shown, FOLDER / "fewshot.png")


def borders() -> None:
    """Objects on the borders of tiles, in one pass and in two."""
    image, truth = slide(2, 420)
    model = segment.load("objects", device="cpu")
    shown = []
    for second in (False, True):
        found = model.predict(image, settings=PredictSettings(tile_px=105, second_pass=second))
        rgb = drawn(image, found.outlines()).copy()
        enlarged = rgb.shape[0] / image.shape[0]
        for edge in (105, 210, 315):
            at = round(edge * enlarged)
            rgb[at], rgb[:, at] = 110, 110
        result = scores(truth, found.labels())
        percent = (100 * part for part in (result.recall, result.duplicates))
        note = "{} for {} objects, {:.0f} % found, {:.0f} % twice".format(len(found), result.objects, *percent)
        shown.append((rgb, "Both passes" if second else "First pass alone", note))
    panels(shown, FOLDER / "borders.png")


if __name__ == "__main__":
    few_shot(Path(sys.argv[1]))
    borders()
