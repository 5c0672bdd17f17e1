"""How fine a table resolves, and what limits it: precision, density of molecules, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from lucule.core import InputError, Localizations
from lucule.process.frc import Course, Frc, FrcSettings, frc, frc_course, fsc
from lucule.process.precision import Precision, precision
from lucule.space import NeighbourGrid

# full width at half maximum of a Gaussian of standard deviation 1
FWHM: Final = 2.3548
_FEWEST: Final = 50
_DENSITY_NEIGHBOURS: Final = 20
_DENSITY_SAMPLE: Final = 50_000
# a Fourier correlation worse than both limits together by this factor has another cause
_UNEXPLAINED: Final = 1.5
# not even molecules that come back without end agree to detail finer than this many precisions
_TOO_FINE: Final = 1.5

Limit = Literal["precision", "density", "neither"]


@dataclass(frozen=True, slots=True, eq=False)
class Resolution:
    """Everything that tells how fine a table resolves.

    Attributes
    ----------
    precision
        NeNA and the comparison with the errors of the table; None without frames.
    frc, fsc
        Fourier ring correlation, and shell correlation of a table in 3D; None where they could not be made.
    course
        The ring correlation against the length of the movie, where it was asked for.
    density_nm
        Nyquist: twice the mean distance of independent localizations in the structure, 2 / sqrt(density) in the plane.
    density_per_um2
        Median density of independent localizations around localizations.
    precision_fwhm_nm
        Width of the picture of a molecule, from the precision.
    limited_by
        The larger of the two, or `neither` when the ring correlation is much coarser than both explain.
    why
        One sentence about that.
    reasons
        Why a value is missing: quantity -> sentence.
    warnings
        What the reader should know.
    """

    precision: Precision | None
    frc: Frc | None
    fsc: Frc | None
    course: Course | None
    density_nm: float | None
    density_per_um2: float | None
    precision_fwhm_nm: float | None
    limited_by: Limit | None
    why: str
    reasons: dict[str, str]
    warnings: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """All numbers by name; a missing one is None and has its reason beside it."""
        found: dict[str, Any] = {}
        if self.precision is not None:
            found |= self.precision.summary()
        for made in (self.frc, self.fsc):
            if made is not None:
                found |= made.summary()
        found |= {
            "precision_fwhm_nm": self.precision_fwhm_nm,
            "density_resolution_nm": self.density_nm,
            "density_per_um2": self.density_per_um2,
            "limited_by": self.limited_by,
            "why": self.why,
        }
        if self.course is not None:
            found |= {"frc_gain_percent_of_last_doubling": self.course.gain_percent}
        for name, reason in self.reasons.items():
            found.setdefault(name, None)
            found[f"{name}_reason"] = reason
        return found


def resolution(
    locs: Localizations,
    *,
    settings: FrcSettings = FrcSettings(),  # noqa: B008 (frozen)
    course: bool = False,
    seed: int = 1,
) -> Resolution:
    """Estimate precision, Fourier correlation and density of a table, and tell which one limits it.

    Parameters
    ----------
    locs
        `frame` is needed for the precision; see `frc` for tables without.
    settings
        Of the Fourier ring correlation.
    course
        Whether to follow the ring correlation over the movie, too.
    seed
        Of splits and resampling.

    Raises
    ------
    InputError
        There are fewer than 50 localizations.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> spots = rng.uniform(0, 4000, (500, 2)).repeat(20, axis=0)
    >>> xy = spots + rng.normal(0, 10, spots.shape)
    >>> table = Localizations({"frame": rng.integers(0, 2000, 10_000), "x": xy[:, 0], "y": xy[:, 1]})
    >>> resolution(table).limited_by
    'density'
    """
    if len(locs) < _FEWEST:
        raise InputError(
            "There are too few localizations for a resolution", received=len(locs), allowed=f"{_FEWEST} or more"
        )
    reasons: dict[str, str] = {}
    warnings: list[str] = []
    precise: Precision | None = None
    if "frame" in locs:
        precise = precision(locs, seed=seed)
        reasons |= precise.reasons
        warnings += _about_precision(precise)
    else:
        reasons["nena_nm"] = (
            "there is no column frame, so nothing tells which localizations are one molecule seen twice"
        )
    sigma = precise.best_nm if precise else _median_error(locs)
    scale = precise.ratio if precise and precise.ratio else 1.0
    ring: Frc | None = None
    shell: Frc | None = None
    along: Course | None = None
    try:
        ring = frc(locs, settings=settings, precision_nm=sigma, error_scale=scale, seed=seed)
        warnings += ring.warnings
        if locs.is_3d:
            volume = settings.replace(repeats=min(settings.repeats, 3), pixel_nm=None)
            shell = fsc(locs, settings=volume, precision_nm=sigma, error_scale=scale, seed=seed)
        if course:
            fewer = settings.replace(repeats=min(settings.repeats, 5))
            along = frc_course(locs, settings=fewer, precision_nm=sigma, seed=seed)
    except InputError as error:
        reasons["frc_nm" if ring is None else "fsc_nm" if locs.is_3d and shell is None else "frc_course"] = str(error)
    width = FWHM * sigma if sigma else None
    if width is None:
        reasons["precision_fwhm_nm"] = (
            "neither pairs of localizations nor the columns x_err and y_err tell the precision"
        )
    density, per_um2 = _density(locs, precise)
    if sigma and ring and ring.resolution_nm and ring.resolution_nm < _TOO_FINE * sigma:
        warnings.append(
            f"The halves agree down to {ring.resolution_nm:.3g} nm, finer than a precision of {sigma:.3g} nm lets any "
            "structure appear: rows repeat each other, or positions are drawn to the pixels of the camera."
        )
    limit, why = _limit(width, density, ring.resolution_nm if ring else None)
    return Resolution(precise, ring, shell, along, density, per_um2, width, limit, why, reasons, tuple(warnings))


def _median_error(locs: Localizations) -> float | None:
    if "x_err" not in locs or "y_err" not in locs:
        return None
    errors = np.concatenate([locs["x_err"], locs["y_err"]])
    errors = errors[np.isfinite(errors) & (errors > 0)]
    return float(np.median(errors)) if len(errors) else None


def _about_precision(found: Precision) -> list[str]:
    if found.ratio is None or found.ratio_interval is None:
        return []
    low, high = found.ratio_interval
    if low > 1.1 or high < 1 / 1.1:
        return [
            f"True errors are {found.ratio:.2f} times the reported ones (95 % interval {low:.2f} to {high:.2f}): check "
            "gain and offset of the camera with which the table was made, or whether molecules move."
        ]
    return []


def _density(locs: Localizations, precise: Precision | None) -> tuple[float | None, float | None]:
    """Nyquist resolution and density of the structure, with the frames of one blink counted once."""
    positions = locs.xyz() if locs.is_3d else locs.xy()
    k = min(_DENSITY_NEIGHBOURS, len(locs) - 1)
    rows = None
    if len(locs) > _DENSITY_SAMPLE:
        rows = np.sort(np.random.default_rng(0).choice(len(locs), _DENSITY_SAMPLE, replace=False))

    def of(points: np.ndarray[Any, Any]) -> tuple[float, int]:
        d = points.shape[1]
        radius = np.maximum(NeighbourGrid(points).distances(k, rows)[:, -1].astype(np.float64), 1e-3)
        return float(np.median(k / (np.pi * radius**2 if d == 2 else 4 / 3 * np.pi * radius**3))), d

    # each pair of consecutive frames of one molecule is one localization too many
    independent = max(1 - precise.pairs / len(locs), 1 / len(locs)) if precise else 1.0
    plane, _ = of(locs.xy())
    dense, d = of(positions)
    return 2 / (dense * independent) ** (1 / d), plane * independent * 1e6


def _limit(width: float | None, density: float | None, found: float | None) -> tuple[Limit | None, str]:
    if width is None or density is None:
        return None, "The limit is not known, because the precision is not."
    text = f"precision allows {width:.0f} nm (full width), the density of localizations {density:.0f} nm"
    together = float(np.hypot(width, density))
    if found is not None and found > _UNEXPLAINED * together:
        return "neither", (
            f"The halves agree down to {found:.0f} nm only, but {text}: suspect drift that was not corrected, or too "
            "few molecules in common between the stretches of time."
        )
    limit: Limit = "precision" if width >= density else "density"
    return limit, f"The {limit} limits: {text}."
