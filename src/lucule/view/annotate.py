"""Scale bar and legend on a picture, drawn with Pillow and the font that comes with matplotlib."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from lucule.core import InputError
from lucule.view.frame import round_down
from lucule.view.picture import ColourBar, Legend, Picture, Swatches

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

# pictures smaller than this are enlarged by a whole factor; narrower ones are set on a canvas of this size
READABLE_SIDE_PX: Final = 480
CANVAS_PX: Final = (300, 120)
BAR_FRACTION: Final = 0.25
INK: Final = (245, 247, 250)
MUTED_INK: Final = (176, 182, 192)
PAPER: Final = (0, 0, 0)
STRIP: Final = (13, 15, 18)


def scale_bar_nm(width_nm: float) -> float:
    """Length of the scale bar for a picture of `width_nm`: 1, 2 or 5 times a power of ten, up to a quarter of it.

    Examples
    --------
    >>> scale_bar_nm(40_000), scale_bar_nm(1_500)
    (10000.0, 200.0)
    """
    return round_down(width_nm * BAR_FRACTION)


def length_text(nm: float) -> str:
    """A length with its unit.

    Examples
    --------
    >>> length_text(500), length_text(2000), length_text(0.5)
    ('500 nm', '2 µm', '0.5 nm')
    """
    if nm >= 1e6:
        return f"{nm / 1e6:g} mm"
    return f"{nm / 1e3:g} µm" if nm >= 1e3 else f"{nm:g} nm"


def annotate(picture: Picture, *, scale_bar: bool = True, legend: bool = True) -> Image:
    """The picture as a Pillow image, with scale bar inside it and legend below."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(np.ascontiguousarray(picture.rgb))
    below = picture.legend if legend else None
    if not scale_bar and below is None:
        return image
    factor = max(1, math.ceil(READABLE_SIDE_PX / max(image.size)))
    if factor > 1:
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    canvas_width, canvas_height = max(image.width, CANVAS_PX[0]), max(image.height, CANVAS_PX[1])
    size = font_size(canvas_width, canvas_height)
    strip = round(3.1 * size) if below is not None else 0
    canvas = Image.new("RGB", (canvas_width, canvas_height + strip), PAPER)
    left, top = (canvas_width - image.width) // 2, (canvas_height - image.height) // 2
    canvas.paste(image, (left, top))
    draw = ImageDraw.Draw(canvas)
    if scale_bar:
        _draw_scale_bar(draw, picture.pixel_nm / factor, canvas_width, canvas_height, size)
    if below is not None:
        draw.rectangle((0, canvas_height, canvas_width, canvas_height + strip), fill=STRIP)
        _draw_legend(canvas, draw, below, canvas_width, canvas_height, strip, size)
    return canvas


def reduce_colours(image: Image, count: int, legend: Legend | None) -> Image:
    """The image with a palette of up to `count` colours, among them those of writing and legend.

    Colours that fill few pixels would otherwise be merged with what is near, and the legend no longer match.
    """
    from PIL import Image as Pillow

    kept = [INK, PAPER, STRIP, MUTED_INK]
    if isinstance(legend, Swatches):
        kept += [colour for _, colour in legend.entries]
    if not len(kept) < count <= 256:
        raise InputError("Unusable number of colours", received=count, allowed=f"{len(kept) + 1} to 256")
    found = image.quantize(count - len(kept), dither=Pillow.Dither.NONE).getpalette() or []
    palette = np.array([*(part for colour in kept for part in colour), *found], np.uint8).reshape(-1, 3)
    indexed = Pillow.fromarray(_nearest(np.asarray(image), palette))
    indexed.putpalette(palette.tobytes())
    return indexed


def _nearest(pixels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Index of the nearest colour of the palette for each pixel; Pillow's own search is only approximate."""
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    table = np.zeros(1 << 24, np.uint8)
    table[packed] = 1
    present = np.flatnonzero(table)
    colours = np.stack([present >> 16, present >> 8 & 255, present & 255], axis=1).astype(np.float32)
    wanted = palette.astype(np.float32)
    for start in range(0, len(colours), 4096):
        part = colours[start : start + 4096]
        # |a - b|^2 without the term that is the same for all colours of the palette
        distance = (wanted**2).sum(axis=1) - 2 * part @ wanted.T
        table[present[start : start + 4096]] = distance.argmin(axis=1)
    nearest: NDArray[np.uint8] = table[packed]
    return nearest


def font_size(width: int, height: int) -> int:
    """Size in pixels of the writing on a picture."""
    # grows more slowly than the picture: large pictures are mostly looked at reduced, but not in proportion
    return int(np.clip(round(20 * (math.sqrt(width * height) / 640) ** 0.6), 13, 64))


@cache
def font(size: int) -> FreeTypeFont:
    """The font of all writing in pictures (DejaVu Sans, comes with matplotlib) in a size in pixels."""
    import matplotlib as mpl
    from PIL import ImageFont

    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size)


def _draw_scale_bar(draw: ImageDraw, pixel_nm: float, canvas_width: int, canvas_height: int, size: int) -> None:
    # of a very narrow picture the bar may be longer than the picture is wide; it lies on the canvas beside it
    length_nm = scale_bar_nm(canvas_width * pixel_nm)
    length = max(1, round(length_nm / pixel_nm))
    thickness = max(3, round(size / 4.5))
    margin = round(size * 1.1)
    right, bottom = canvas_width - margin, canvas_height - margin
    text = length_text(length_nm)
    letters = font(size)
    text_width = draw.textlength(text, font=letters)
    # the writing may be wider than the bar: then both are centred on each other, still inside the margin
    centre = right - max(length, text_width) / 2
    halo = max(1, round(size / 12))
    x0 = round(centre - length / 2)
    box = (x0, bottom - thickness, x0 + length - 1, bottom - 1)
    draw.rectangle((box[0] - halo, box[1] - halo, box[2] + halo, box[3] + halo), fill=PAPER)
    draw.rectangle(box, fill=INK)
    draw.text(
        (centre, bottom - thickness - size * 0.35),
        text,
        font=letters,
        fill=INK,
        anchor="ms",
        stroke_width=halo,
        stroke_fill=PAPER,
    )


def _draw_legend(canvas: Image, draw: ImageDraw, legend: Legend, width: int, top: int, strip: int, size: int) -> None:
    if isinstance(legend, ColourBar):
        _draw_colour_bar(canvas, draw, legend, width, top, strip, size)
    else:
        _draw_swatches(canvas, draw, legend, width, top, strip, size)


def _draw_colour_bar(
    canvas: Image, draw: ImageDraw, bar: ColourBar, width: int, top: int, strip: int, size: int
) -> None:
    from PIL import Image

    small = font(max(11, round(size * 0.85)))
    margin, middle = round(size * 1.1), top + strip / 2
    low, high = number_text(bar.low), number_text(bar.high)
    gap = round(size * 0.6)
    numbers = draw.textlength(low, font=small) + draw.textlength(high, font=small)
    title = _fitting(draw, bar.title, small, width - 2 * margin - numbers - 3 * gap - 3 * size)
    room = width - 2 * margin - numbers - draw.textlength(title, font=small) - 3 * gap
    length = int(np.clip(room, 2 * size, 14 * size))
    x = float(margin)
    draw.text((x, middle), low, font=small, fill=INK, anchor="lm")
    x += draw.textlength(low, font=small) + gap
    thickness = max(8, round(size * 0.8))
    ramp = Image.fromarray(bar.table[None, :, :]).resize((length, thickness), Image.Resampling.NEAREST)
    canvas.paste(ramp, (round(x), round(middle - thickness / 2)))
    x += length + gap
    draw.text((x, middle), high, font=small, fill=INK, anchor="lm")
    x += draw.textlength(high, font=small) + gap
    draw.text((x, middle), title, font=small, fill=MUTED_INK, anchor="lm")


def _draw_dot(canvas: Image, x: float, y: float, diameter: float, colour: tuple[int, int, int]) -> None:
    """A disc with smooth edge, which Pillow does not draw by itself."""
    from PIL import Image, ImageDraw

    side, fine = math.ceil(diameter), 8
    mask = Image.new("L", (side * fine, side * fine), 0)
    ImageDraw.Draw(mask).ellipse((0, 0, diameter * fine - 1, diameter * fine - 1), fill=255)
    canvas.paste(colour, (round(x), round(y)), mask.resize((side, side), Image.Resampling.LANCZOS))


def _draw_swatches(
    canvas: Image, draw: ImageDraw, legend: Swatches, width: int, top: int, strip: int, size: int
) -> None:
    small = font(max(11, round(size * 0.85)))
    x, middle, radius = float(round(size * 1.1)), top + strip / 2, size * 0.38
    for text, colour in legend.entries:
        shown = _fitting(draw, text, small, width - x - 3 * radius - size)
        if text and not shown:
            return
        _draw_dot(canvas, x, middle - radius, 2 * radius, colour)
        x += 3 * radius
        if not text:
            continue
        draw.text((x, middle), shown, font=small, fill=INK, anchor="lm")
        x += draw.textlength(shown, font=small) + 1.4 * size


def _fitting(draw: ImageDraw, text: str, font: FreeTypeFont, room: float) -> str:
    """As much of `text` as fits, cut at the end."""
    if draw.textlength(text, font=font) <= room:
        return text
    while text and draw.textlength(text + "…", font=font) > room:
        text = text[:-1]
    return text.rstrip() + "…" if text else ""


def number_text(value: float) -> str:
    """A number with three significant digits, without exponents where they can be avoided.

    Examples
    --------
    >>> number_text(1234.5), number_text(0.01234), number_text(-312.4)
    ('1,230', '0.0123', '-312')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1e9 or abs(value) < 1e-3:
        return f"{value:.2e}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{round(value, 2 - math.floor(math.log10(abs(value)))):,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
