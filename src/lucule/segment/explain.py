"""Why no object was found, and what about an image differs from those of the training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lucule.models import Card
from lucule.segment.images import Brightness, Image

if TYPE_CHECKING:
    from lucule.segment.predict import PredictSettings, Segmenter

# contrasts below this part of the smallest one of the training are named
_WEAKER: Final = 0.5
_MAGNIFICATIONS: Final = (0.25, 0.5, 2.0, 4.0)
# side of the window that is tried at other magnifications, pixels of the network
_TRIAL_PX: Final = 768


def remarks(source: Image, light: Brightness, card: Card) -> list[str]:
    """What is unusual about an image for this network."""
    notes = []
    if light.contrast == 0:
        return [f"{source.name} has the same brightness everywhere"]
    least = card.training_range["contrast_to_noise"][0]
    if light.contrast < _WEAKER * least:
        notes.append(
            f"{source.name} has little contrast: {light.contrast:.3g} times its noise, at least {least:.3g} in training"
        )
    return notes


def nothing(
    segmenter: Segmenter,
    source: Image,
    light: Brightness,
    scale: float,
    highest: float,
    how: PredictSettings,
    notes: list[str],
) -> str:
    """Say why no object was found, after a look at other magnifications."""
    reasons = list(notes)
    low, high = segmenter.card.training_range["high_counts"]
    brightest = max(light.high)
    if light.contrast > 0 and not low / 2 <= brightest <= high * 2:
        reasons.append(f"its bright parts have {brightest:.4g} counts, {low:.4g} to {high:.4g} in training")
    if highest > how.threshold / 2:
        reasons.append(
            f"the highest probability is {highest:.2f}, the threshold {how.threshold:.2f}, or parts are small"
        )
    if light.contrast > 0:
        reasons += _other_magnification(segmenter, source, light, scale, how)
    if not reasons:
        reasons.append("nothing in it looks like the training objects, the highest probability is "
                       f"{highest:.2f}")  # fmt: skip
    return f"No object found in {source.name}: " + "; ".join(reasons) + "."


def _other_magnification(
    segmenter: Segmenter, source: Image, light: Brightness, scale: float, how: PredictSettings
) -> list[str]:
    from lucule.segment.predict import _Job, in_window
    from lucule.segment.tiling import Window

    best: tuple[int, float] = (0, 1.0)
    for factor in _MAGNIFICATIONS:
        rows, columns = (min(size, round(_TRIAL_PX / (scale * factor))) for size in source.shape)
        top, left = (source.shape[0] - rows) // 2, (source.shape[1] - columns) // 2
        job: Any = _Job(segmenter.source, str(segmenter.device), source.name, light, scale * factor, how)
        found, _ = in_window(segmenter, source, Window(top, top + rows, left, left + columns), job)
        best = max(best, (len(found), factor))
    if best[0] == 0:
        return []
    size = segmenter.diameter_px / best[1]
    return [f"{best[0]} objects appear in its middle if they are about {size:.3g} pixels wide, "
            f"{segmenter.diameter_px:.3g} in training (--diameter-px {size:.3g})"]  # fmt: skip
