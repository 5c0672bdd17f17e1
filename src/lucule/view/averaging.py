"""Pictures of an average of particles: the sum, the symmetrised sum, single particles, and the half-set correlation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucule.core import Localizations
from lucule.process.frc import BetweenSets
from lucule.structures.averaging import Average
from lucule.view.annotate import length_text, scale_bar_nm
from lucule.view.curves import add_legend, entitle
from lucule.view.frame import Frame
from lucule.view.plots import ACCENT, INK, MUTED, SOFT
from lucule.view.raster import gaussian_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

_PIXELS: Final = 240
_EXAMPLES: Final = 8
_MAP: Final = "inferno"
_PANEL_INCHES: Final = 2.6


class _Shot(NamedTuple):
    """One large panel: what it is called and what it shows, relative to the middle of the average."""

    title: str
    note: str
    points_nm: Floats
    errors_nm: Floats


def average_plot(found: Average, resolution: BetweenSets | None = None, *, doubt: str | None = None) -> Figure:
    """Sum of all particles, the symmetrised sum, in 3D also from the side; example particles; half-set correlation.

    `doubt` is a word of warning that stands above the average.
    """
    from matplotlib.figure import Figure as NewFigure

    flat = found.particles.flat
    keep = found.main[found.particles.owner]
    points, errors = found.points()[keep], found.particles.errors_nm[keep]
    middle = np.average(points, axis=0)
    shots = [
        _Shot("Average", _counted(found) + (f"; {doubt}" if doubt else ""), points[:, :2] - middle[:2], errors[:, :2])
    ]
    if not flat:
        shots.append(_Shot("From the side", "x and z", points[:, [0, 2]] - middle[[0, 2]], errors[:, [0, 2]]))
    if found.symmetry.order > 1:
        order = found.symmetry.order
        turned = found.points(symmetric=True).reshape(order, -1, 3)[:, keep, :2].reshape(-1, 2)
        note = f"costs {100 * max(found.symmetry.loss, 0.0):.1f} % of the fit"
        shots.append(_Shot(f"{order}-fold average", note, turned - middle[:2], np.tile(errors[:, :2], (order, 1))))
    shots += _classes(found, middle)
    wide = len(shots) + (1.3 if resolution is not None else 0)
    figure = NewFigure(figsize=(max(wide, 3.2) * _PANEL_INCHES, 4.6), dpi=150, layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.9, 1])
    widths = [1.0] * len(shots) + ([1.3] if resolution is not None else [])
    panels = np.atleast_1d(top.subplots(1, len(widths), width_ratios=widths))
    half = 1.15 * found.particles.radius_nm
    for axes, shot in zip(panels, shots, strict=False):
        _picture(axes, shot.points_nm, shot.errors_nm, half)
        entitle(axes, shot.title, shot.note)
        _bar(axes, half)
    if resolution is not None:
        _correlation(panels[-1], resolution)
    small: Any = bottom.subplots(1, _EXAMPLES)
    best = np.argsort(-np.where(found.outlier, -np.inf, found.particles.sites), kind="stable")
    best = best[: max(int((~found.outlier).sum()), 1)]
    examples = best[np.linspace(0, len(best) - 1, min(_EXAMPLES, len(best))).astype(int)]
    whole = found.points()
    for axes in small[len(examples) :]:
        axes.set_axis_off()
    for axes, k in zip(small, examples, strict=False):
        rows = slice(found.particles.starts[k], found.particles.starts[k + 1])
        _picture(axes, whole[rows, :2] - middle[:2], found.particles.errors_nm[rows, :2], half)
        axes.set_title(f"{found.particles.ids[k]}", color=MUTED, fontsize=7.5, pad=2)
    bottom.suptitle("Single particles as they were laid on each other, from many to few sites", x=0.01, ha="left",
                    color=INK, fontsize=9)  # fmt: skip
    return figure


def _classes(found: Average, middle: Floats) -> list[_Shot]:
    """What is shown of the classes besides the largest one."""
    whole, shots = found.points(), []
    for c in range(1, int(found.class_of.max()) + 1):
        of = ~found.outlier & (found.class_of == c)
        rows = of[found.particles.owner]
        if rows.any():
            note = f"{int(of.sum()):,} particles"
            shots.append(_Shot(f"Class {c}", note, whole[rows, :2] - middle[:2], found.particles.errors_nm[rows, :2]))
    return shots


def _counted(found: Average) -> str:
    used = int(found.main.sum())
    out = int(found.outlier.sum())
    return f"{used:,} particles" + (f", {out:,} outliers left out" if out else "")


def _picture(axes: Axes, points: Floats, errors: Floats, half_nm: float) -> None:
    pixel = 2 * half_nm / _PIXELS
    # pictures of few localizations need some width to be seen
    sigma = np.clip(errors, pixel, None).astype(np.float32)
    locs = Localizations({"x": points[:, 0], "y": points[:, 1], "x_err": sigma[:, 0], "y_err": sigma[:, 1]})
    frame = Frame(-half_nm, -half_nm, _PIXELS, _PIXELS, pixel)
    image = gaussian_image(locs, frame, sigma_nm=(pixel, 4 * float(np.median(sigma))))
    brightest = float(np.quantile(image, 0.998)) or 1.0
    axes.imshow(image, cmap=_MAP, vmin=0, vmax=brightest, extent=(-half_nm, half_nm, half_nm, -half_nm))
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _bar(axes: Axes, half_nm: float) -> None:
    length = scale_bar_nm(2 * half_nm)
    y = 0.9 * half_nm
    axes.plot([0.9 * half_nm - length, 0.9 * half_nm], [y, y], color="white", lw=2, solid_capstyle="butt")
    axes.text(0.9 * half_nm - length / 2, y - 0.05 * half_nm, length_text(length), color="white", ha="center",
              va="bottom", fontsize=7.5)  # fmt: skip


def _correlation(axes: Axes, found: BetweenSets) -> None:
    curve = found.curve
    per_um = 1000 * curve.frequency
    axes.plot(per_um[1:], curve.correlation[1:], color=SOFT, lw=0.8)
    axes.plot(per_um[1:], curve.smooth[1:], color=ACCENT, lw=1.6, label="correlation")
    axes.axhline(1 / 7, color=INK, lw=0.9, label="1/7")
    axes.plot(per_um[1:], curve.threshold("half-bit")[1:], color=INK, lw=0.9, ls=":", label="half-bit")
    if found.resolution_nm is not None:
        axes.axvline(1000 / found.resolution_nm, color=MUTED, lw=0.8, ls="--")
        axes.set_xlim(0, min(per_um[-1], 2500 / found.resolution_nm))
    axes.set_ylim(-0.15, 1.05)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="both", which="both", length=0, colors=MUTED, labelsize=8)
    axes.grid(color="#e4e8ee", linewidth=0.6)
    axes.set_axisbelow(True)
    note = f"half sets agree to {found.resolution_nm:.3g} nm" if found.resolution_nm is not None else "no crossing"
    entitle(axes, "Ring correlation" if found.dims == 2 else "Shell correlation", note)
    axes.set_xlabel("spatial frequency, 1/µm", color=MUTED, fontsize=8.5)
    add_legend(axes)
