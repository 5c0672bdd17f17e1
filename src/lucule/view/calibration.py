"""Quality pages of calibrations: one figure that shows whether a PSF or a camera can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from lucule.localize.calibration import Calibration, CameraCalibration
from lucule.view.curves import SECOND, THIRD, add_legend, entitle, panels_of
from lucule.view.plots import ACCENT, INK, MUTED, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS: Final = ("x", "s", "^", "v", "D", "P", "*")
_FINE: Final = 200


def psf_page(found: Calibration) -> Figure:
    """Beads, widths with their curves, wobble, precision, and sections of the PSF beside the astigmatic model."""
    figure, panels = panels_of(6)
    _beads(panels[0], found)
    _widths(panels[1], found)
    _wobble(panels[2], found)
    _bounds(panels[3], found)
    _sections(panels[4], found, "x")
    _sections(panels[5], found, "y")
    return figure


def _beads(axes: Axes, found: Calibration) -> None:
    table = found.beads
    used = table["used"].to_numpy()
    x, y = table["x_nm"].to_numpy() / 1000, table["y_nm"].to_numpy() / 1000
    axes.plot(x[used], y[used], "o", ms=5, color=ACCENT, label=f"used ({used.sum()})", zorder=3)
    names = [str(reason).partition(":")[0] for reason in table["reason"]]
    reasons = [name for name in dict.fromkeys(names) if name]
    for mark, reason in zip(_MARKS, reasons, strict=False):
        mine = np.array([name == reason for name in names])
        axes.plot(x[mine], y[mine], mark, ms=5, color=MUTED, mfc="none", label=f"{reason} ({mine.sum()})", zorder=2)
    axes.set_aspect("equal", adjustable="box")
    axes.invert_yaxis()
    note = f"{len(table)} found"
    if "tilt_x_nm_per_um" in found.quality:
        tilt = np.hypot(found.quality["tilt_x_nm_per_um"], found.quality["tilt_y_nm_per_um"])
        note += f", coverslip tilted {tilt:.1f} nm/µm"
    entitle(axes, "Beads", note)
    axes.set_xlabel("µm", color=MUTED, fontsize=9)
    # beside the beads, which may lie anywhere
    axes.legend(frameon=False, fontsize=8, labelcolor=MUTED, loc="upper left", bbox_to_anchor=(1, 1))


def _range(axes: Axes, found: Calibration) -> None:
    """Shade what lies outside the usable depths."""
    low, high = found.z_range_nm
    first, last = float(found.z_nm[0]), float(found.z_nm[-1])
    for a, b in ((first, low), (high, last)):
        if b > a:
            axes.axvspan(a, b, color="#f1f3f6", lw=0, zorder=0)
    axes.set_xlim(first, last)
    axes.set_xlabel("z, nm", color=MUTED, fontsize=9)
    axes.set_ylabel("nm", color=MUTED, fontsize=9)


def _widths(axes: Axes, found: Calibration) -> None:
    z = found.curves["z_nm"].to_numpy()
    for axis, colour in (("x", ACCENT), ("y", SECOND)):
        axes.plot(z, found.curves[f"sigma_{axis}_nm"], "o", ms=3.5, color=colour, label=f"sigma {axis}", zorder=3)
    note = "no astigmatic model"
    if found.astigmatic is not None:
        from lucule.localize.calibration.astigmatic import sigma_at

        fine = np.linspace(*found.astigmatic.z_range_nm, _FINE)
        for curve, colour in ((found.astigmatic.x, ACCENT), (found.astigmatic.y, SECOND)):
            axes.plot(fine, sigma_at(curve, fine), color=colour, lw=1.2, zorder=2)
        apart = found.astigmatic.y.focus_nm - found.astigmatic.x.focus_nm
        note = (
            f"lines: defocus curves, {100 * found.quality['astigmatic_misfit']:.1f} % off; foci {apart:+.0f} nm apart"
        )
    _range(axes, found)
    axes.set_ylim(0, 1.1 * float(np.nanmax([*found.curves["sigma_x_nm"], *found.curves["sigma_y_nm"], 1.0])))
    entitle(axes, "Width of a Gaussian", note)
    add_legend(axes)


def _wobble(axes: Axes, found: Calibration) -> None:
    z = found.curves["z_nm"].to_numpy()
    for axis, colour in (("x", ACCENT), ("y", SECOND)):
        axes.plot(z, found.curves[f"wobble_{axis}_nm"], color=colour, lw=1.5, label=axis, zorder=3)
    axes.axhline(0, color=MUTED, lw=0.8, zorder=1)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -5), max(high, 5))
    _range(axes, found)
    largest = found.quality["largest_wobble_nm"]
    note = "the PSF is no Gaussian" if largest is None else f"at most {largest:.1f} nm in the usable range"
    entitle(axes, "Wobble of a Gaussian fit", note)
    add_legend(axes)


def _bounds(axes: Axes, found: Calibration) -> None:
    z = found.curves["z_nm"].to_numpy()
    for axis, colour in (("x", ACCENT), ("y", SECOND), ("z", THIRD)):
        axes.plot(z, found.curves[f"{axis}_err_nm"], color=colour, lw=1.5, label=axis, zorder=3)
    _range(axes, found)
    inside = found.curves.filter(found.curves["z_nm"].is_between(*found.z_range_nm))
    highest = max(float(inside[f"{axis}_err_nm"].max()) for axis in "xyz")  # type: ignore[arg-type]
    axes.set_ylim(0, 1.6 * highest)
    settings = found.history[-1].parameters["settings"] if found.history else {}
    light = f"{settings['photons']:,.0f} photons on {settings['background']:g} per pixel, " if settings else ""
    low, high = found.z_range_nm
    entitle(axes, "Precision (Cramér-Rao bound)", f"{light}usable from {low:.0f} to {high:.0f} nm")
    add_legend(axes)


def _sections(axes: Axes, found: Calibration, axis: str) -> None:
    """Section of the PSF through the emitter, and below it that of the astigmatic model."""
    kernel = found.kernel()
    side = kernel.roi_px
    pixel = found.pixel_size_nm
    middle = (side // 2 + 0.5) * pixel
    low, high = kernel.z_range_nm
    heights = np.linspace(low, high, 80)
    models = [kernel]
    if found.astigmatic is not None:
        from lucule.simulate.optics import compile_psf

        models.append(compile_psf(found.astigmatic, pixel))
    pictures = [_section(model, axis, middle, side, heights) for model in models]
    reach = side * pixel / 2000
    gap = 0.04 * 2 * reach
    for number, picture in enumerate(pictures):
        left = -reach + number * (2 * reach + gap)
        axes.imshow(np.sqrt(np.clip(picture, 0, None)), extent=(left, left + 2 * reach, low, high), origin="lower",
                    cmap="inferno", vmin=0, vmax=float(np.sqrt(pictures[0].max())), aspect="auto",
                    interpolation="nearest")  # fmt: skip
    axes.set_xlim(-reach, -reach + len(pictures) * (2 * reach + gap) - gap)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    scale = 0.5
    axes.plot([-0.92 * reach, -0.92 * reach + scale], [0.93 * low] * 2, color="white", lw=2)
    axes.text(-0.92 * reach, 0.9 * low, "0.5 µm", color="white", fontsize=7, va="bottom")
    axes.set_xticks([])
    axes.set_ylabel("z, nm", color=MUTED, fontsize=9)
    shown = "measured | astigmatic Gaussian" if len(pictures) == 2 else "measured"
    entitle(axes, f"Section {axis}z", f"{shown}, square root of the light")


def _section(kernel: Any, axis: str, middle: float, side: int, heights: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = kernel.z_range_nm
    planes = np.stack([kernel.patch(middle, middle, float(np.clip(z, low, high)), (0, 0), (side, side))[0]
                       for z in heights])  # fmt: skip
    section: NDArray[np.float64] = planes[:, side // 2, :] if axis == "x" else planes[:, :, side // 2]
    return section


def camera_page(found: CameraCalibration) -> Figure:
    """Photon transfer with its line, and histograms of the maps where there are any."""
    figure, panels = panels_of(1 + len(found.maps))
    axes = panels[0]
    x, y = found.transfer.T
    excess = 2.0 if found.camera.em_gain > 1 else 1.0
    slope = found.counts_per_electron * excess
    axes.plot(x, y, "o", ms=3.5, color=ACCENT, zorder=3)
    line = np.array([0.0, float(x.max())])
    axes.plot(line, slope * line, color=INK, lw=1, zorder=2)
    low, high = found.counts_per_electron_interval
    entitle(
        axes, "Variance against mean", f"{found.counts_per_electron:.4g} counts per electron ({low:.4g} to {high:.4g})"
    )
    axes.set_xlabel("mean above the baseline, counts", color=MUTED, fontsize=9)
    axes.set_ylabel("variance above the dark, counts²", color=MUTED, fontsize=9)
    labels = {
        "baseline": ("Baseline", "counts"),
        "electrons_per_count": ("Gain", "electrons per count"),
        "read_noise_electrons": ("Read noise", "electrons"),
    }
    for panel, (field, values) in zip(panels[1:], found.maps.items(), strict=True):
        flat = values.ravel()
        first, last = np.percentile(flat, (0.1, 99.9))
        edges = np.linspace(first, last if last > first else first + 1, 80)
        panel.hist(np.clip(flat, first, last), bins=edges.tolist(), color=SOFT, lw=0, zorder=2)
        panel.hist(np.clip(flat, first, last), bins=edges.tolist(), color=ACCENT, histtype="step", lw=1, zorder=3)
        panel.set_yscale("log")
        name, unit = labels[field]
        entitle(panel, name, f"median {np.median(flat):.4g}, largest {flat.max():.4g} {unit}")
        panel.set_xlabel(unit, color=MUTED, fontsize=9)
        panel.set_ylabel("pixels", color=MUTED, fontsize=9)
    return figure
