"""Why no object was found, and what about an image differs from those of the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lucule.models import Card
from lucule.segment.images import Brightness, Image

# contrasts below this part of the smallest one of the training are named
_WEAKER: Final = 0.5
# 1st to 99.8th percentile of noise alone is 5.2 standard deviations
_NOISE_ALONE: Final = 6.0
_MAGNIFICATIONS: Final = (0.25, 0.5, 2.0, 4.0)


def remarks(source: Image, light: Brightness, card: Card) -> list[str]:
    """What is unusual about an image for this network."""
    if light.contrast == 0:
        return [f"{source.name} has the same brightness everywhere"]
    if light.contrast < _NOISE_ALONE:
        return [f"{source.name} holds no more than noise: its range is {light.contrast:.3g} times that of a pixel"]
    least = card.training_range["contrast_to_noise"][0]
    if light.contrast >= _WEAKER * least:
        return []
    return [
        f"{source.name} has little contrast: {light.contrast:.3g} times its noise, at least {least:.3g} in training"
    ]


def nothing(
    source: Image,
    light: Brightness,
    card: Card,
    *,
    highest: float,
    threshold: float,
    surest: float | None,
    confidence: float,
    count_at: Callable[[float], int],
) -> str:
    """Say why no object was found.

    Parameters
    ----------
    highest, threshold
        Highest probability of a pixel, and from which on it belongs to an object.
    surest, confidence
        Highest mean probability of anything that was seen, None where nothing was, and from which on it is an object.
    count_at
        Gives the number of objects in the middle of the image when it is magnified by a factor.
    """
    reasons = remarks(source, light, card)
    low, high = card.training_range["high_counts"]
    brightest = max(light.high)
    if light.contrast >= _NOISE_ALONE and not low / 2 <= brightest <= high * 2:
        reasons.append(f"its bright parts have {brightest:.4g} counts, {low:.4g} to {high:.4g} in training")
    if light.contrast < _NOISE_ALONE:
        # what appears in noise that is magnified is no hint
        return f"No object found in {source.name}: " + "; ".join(reasons) + "."
    if surest is not None:
        reasons.append(f"the surest of what was seen has a confidence of {surest:.2f}, the least is {confidence:.2f}")
    elif highest > threshold:
        reasons.append("what looks like an object is too small")
    elif highest > threshold / 2:
        reasons.append(f"the highest probability is {highest:.2f}, the threshold {threshold:.2f}")
    number, factor = max((count_at(factor), factor) for factor in _MAGNIFICATIONS)
    if number:
        usual = float(card.features["diameter_px"])
        size = usual / factor
        reasons.append(
            f"{number} objects appear in its middle if they are about {size:.3g} pixels wide, "
            f"{usual:.3g} in training (--diameter-px {size:.3g})"
        )
    if not reasons:
        reasons.append(f"nothing in it looks like the training objects, the highest probability is {highest:.2f}")
    return f"No object found in {source.name}: " + "; ".join(reasons) + "."
