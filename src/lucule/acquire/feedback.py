"""Decisions between bursts: pure functions from what was seen to what is done, each with its reason.

Density: the activating laser is changed by the ratio of wanted and seen density, damped where both came near (an
integral controller in the logarithm of the power, since the density follows the power). Stop rules: see
`lucule.acquire.plan.Stop`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import Final

from lucule.acquire.plan import Density, Stop

_NEAR: Final = 0.1
_NEAR_GAIN: Final = 0.5
# a course needs some bursts before it is one
_FEWEST_BURSTS: Final = 3


@dataclass(frozen=True)
class Seen:
    """What a burst showed.

    Attributes
    ----------
    frames
        Its frames.
    localizations
        Its localizations.
    density_per_um2
        Emitters for a um2 and frame.
    sigma_nm
        Median width of its spots; None: there were none.
    activation_mw
        Power of the activating laser during it.
    frc_nm
        Fourier ring correlation of the movie so far, where it was made.
    """

    frames: int
    localizations: int
    density_per_um2: float
    sigma_nm: float | None = None
    activation_mw: float = 0.0
    frc_nm: float | None = None


@dataclass(frozen=True)
class Decision:
    """What is done next: `go on`, or `stop` with the state that the field gets; and why."""

    action: str
    reason: str
    activation_mw: float = 0.0

    @property
    def goes_on(self) -> bool:
        """Whether there is another burst."""
        return self.action == "go on"


def next_power(seen: Seen, settings: Density) -> tuple[float, str]:
    """Power of the activating laser for the next burst, and why.

    Examples
    --------
    >>> next_power(Seen(100, 50, 0.1, activation_mw=1.0), Density(target_per_um2=0.2))
    (2.0, '0.1 emitters per um2 seen, 0.2 wanted')
    """
    ratio = settings.target_per_um2 / max(seen.density_per_um2, 1e-9)
    reason = f"{seen.density_per_um2:.3g} emitters per um2 seen, {settings.target_per_um2:g} wanted"
    step = ratio if abs(ratio - 1) > _NEAR else ratio**_NEAR_GAIN
    step = min(max(step, 1 / settings.largest_step), settings.largest_step)
    wanted = max(seen.activation_mw, settings.lowest_mw) * step
    power = min(max(wanted, settings.lowest_mw), settings.highest_mw)
    if power != wanted:
        reason += f"; the laser is at its {'highest' if wanted > power else 'lowest'}"
    return power, reason


def decide(course: Sequence[Seen], stop: Stop, density: Density | None, *, frames: int) -> Decision:
    """Decide after each burst whether the field goes on, and with which activation.

    Parameters
    ----------
    course
        All bursts so far, at least one.
    stop, density
        Settings.
    frames
        Most frames of the field.

    Examples
    --------
    >>> decide([Seen(100, 0, 0.0)], Stop(), None, frames=1000).reason
    'the field is empty: 0 emitters per um2 and frame'
    """
    last, first = course[-1], course[0]
    power, why = (0.0, "no activation") if density is None else next_power(last, density)
    if len(course) == 1 and stop.empty_per_um2 is not None and last.density_per_um2 < stop.empty_per_um2:
        return Decision("empty", f"the field is empty: {last.density_per_um2:.2g} emitters per um2 and frame")
    if stop.defocus_factor is not None and first.sigma_nm and last.sigma_nm:
        wider = last.sigma_nm / first.sigma_nm
        if wider > stop.defocus_factor:
            return Decision("defocused", f"the spots are {wider:.2f} times as wide as those of the first burst")
    if sum(seen.frames for seen in course) >= frames:
        return Decision("complete", f"all {frames} frames are taken")
    for finished in (_bleached(course, stop, density), _plateau(course, stop), _resolved(course, stop)):
        if finished is not None:
            return finished
    return Decision("go on", why, power)


def _bleached(course: Sequence[Seen], stop: Stop, density: Density | None) -> Decision | None:
    if stop.bleached_fraction is None or len(course) < _FEWEST_BURSTS:
        return None
    wanted = density.target_per_um2 if density else course[0].density_per_um2
    at_limit = density is None or course[-1].activation_mw >= 0.99 * density.highest_mw
    left = course[-1].density_per_um2 / wanted if wanted else 0.0
    if at_limit and left < stop.bleached_fraction:
        return Decision("bleached", f"{100 * left:.1f} % of the density are left, with the activation at its limit")
    return None


def _plateau(course: Sequence[Seen], stop: Stop) -> Decision | None:
    if stop.count_gain is None or len(course) < _FEWEST_BURSTS:
        return None
    total = sum(seen.localizations for seen in course)
    gain = course[-1].localizations / total if total else 0.0
    if gain < stop.count_gain:
        return Decision("plateau", f"the last burst added {100 * gain:.2f} % to all localizations")
    return None


def _resolved(course: Sequence[Seen], stop: Stop) -> Decision | None:
    """The ring correlation against the length of the movie, by the doubling."""
    known = [(sum(s.frames for s in course[: n + 1]), seen.frc_nm) for n, seen in enumerate(course) if seen.frc_nm]
    if stop.frc_gain is None or len(known) < 2:
        return None
    frames, now = known[-1]
    earlier = [(count, nm) for count, nm in known[:-1] if count <= frames / 2]
    if not earlier or not now:
        return None
    count, before = earlier[-1]
    gain = (1 - now / before) / log2(frames / count) if before else 0.0
    if gain < stop.frc_gain:
        return Decision(
            "plateau", f"doubling the movie improved the ring correlation by {100 * gain:.1f} % to {now:.0f} nm"
        )
    return None
