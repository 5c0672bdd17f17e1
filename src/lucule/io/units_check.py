"""What looks wrong with a table: wrong units, wrong columns, damaged values. Nothing here stops anybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import Localizations

# Camera fields are 5 to 250 um wide, precision is 1 to 100 nm, the PSF 60 to 500 nm; a camera has up to 4096 pixels
_LARGEST_FIELD_NM: Final = 1e6
_CAMERA_PX: Final = 4096.0
_SMALLEST_PRECISION_NM: Final = 0.5
_SMALLEST_PSF_NM: Final = 20.0
_DENSEST_PER_UM2: Final = 5e4
_LOOK_AT: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Look:
    """What a check looks at: the table, and every k-th row of it for statistics."""

    locs: Localizations
    sample: pl.DataFrame


def suspicions(locs: Localizations) -> list[str]:
    """One sentence for each thing that looks wrong with a table, the gravest first; empty when nothing does.

    Reading notes (`meta.vendor["notes"]`) and dropped rows come first, then units, frames, values. Statistics of very
    large tables are taken from every k-th row.

    Examples
    --------
    >>> import numpy as np
    >>> grid = np.arange(10_000)
    >>> camera = Localizations({"x": grid % 100 + 0.3, "y": grid // 100 + 0.7, "x_err": np.full(10_000, 0.1)})
    >>> suspicions(camera)[0].split(":")[0]
    'positions look like pixels, not nm'
    """
    found = list(_notes(locs))
    if not len(locs):
        return [*found, "the table holds no localizations"]
    look = _Look(locs, locs.data.gather_every(max(1, len(locs) // _LOOK_AT)))
    for check in _CHECKS:
        found.extend(check(look))
    return found


def _notes(locs: Localizations) -> Iterator[str]:
    yield from locs.meta.vendor.get("notes", [])
    if dropped := locs.meta.vendor.get("dropped_rows"):
        yield f"{dropped:,} rows without a finite position or frame were left out when the file was read"


def _unit_of_positions(look: _Look) -> Iterator[str]:
    span = _span(look.sample)
    precision, width = _median(look.sample, "x_err"), _median(look.sample, "sigma_x")
    # averaged molecules can be as precise as the precision of camera pixels is in number; no PSF is that narrow
    fine = (
        width < _SMALLEST_PSF_NM if width is not None else precision is not None and precision < _SMALLEST_PRECISION_NM
    )
    size = f"they span {span:.4g} nm" + (
        f", the median precision is {precision:.3g} nm" if precision is not None else ""
    )
    again = "read the file again with --unit"
    if span > _LARGEST_FIELD_NM:
        yield f"positions span {span / 1e6:.4g} mm, more than any field of view; check their unit"
    elif 0 < span < 1e-2:
        yield f"positions look like metres, not nm: {size}; {again} m"
    elif 0 < span < _CAMERA_PX and (fine or _too_dense(len(look.locs), look.sample)):
        # in um the PSF is 0.06 to 0.5 wide and the precision about a tenth of that; in pixels both are ten times that
        micrometres = width < 0.6 if width is not None else precision is not None and precision < 0.03
        if micrometres and span < 300:
            yield f"positions look like micrometres, not nm: {size}; {again} um"
        else:
            yield f"positions look like pixels, not nm: {size}; {again} px --pixel-size-nm SIZE"
    elif precision is not None and 0 < precision < _SMALLEST_PRECISION_NM / 5:
        yield f"the median precision is {precision:.3g} nm while positions span {span:.4g} nm; check its unit"


def _too_dense(count: int, sample: pl.DataFrame) -> bool:
    """Whether there are more localizations per area than a field of view holds."""
    width, height = (_range(sample, axis) for axis in "xy")
    return count > 1000 and count > _DENSEST_PER_UM2 * width * height / 1e6


def _extent(look: _Look) -> Iterator[str]:
    for axis in "xy":
        values = _values(look.sample, axis)
        low, high = np.percentile(values, [0.1, 99.9])
        whole = float(np.ptp(values))
        if len(values) >= 1000 and high > low and whole > 10 * (high - low):
            yield f"a few positions lie far off: {axis} spans {whole:.4g} nm, 99.8 % of it {high - low:.4g} nm"
    rounded = [axis for axis in "xy" if np.mean(_values(look.sample, axis) % 1 == 0) > 0.99]
    if len(look.sample) >= 100 and len(rounded) == 2:
        yield "positions are whole numbers of nm: they were rounded, or are no localizations"
    if look.locs.data["x"].n_unique() == 1 and len(look.locs) > 1:
        yield "x is the same in every row; check which column holds it"


def _depth(look: _Look) -> Iterator[str]:
    if "z" not in look.locs:
        return
    span = float(np.ptp(_values(look.sample, "z")))
    if not look.locs.is_3d and len(look.locs) > 1:
        yield f"z is {look.locs['z'][0]:g} nm in every row; the table is treated as 2D"
    elif span > 20_000:
        yield f"z spans {span / 1000:.4g} um, more than a PSF covers; check its unit"
    elif 0 < span < 1:
        yield f"z spans {span:.3g} nm; check its unit"


def _frames(look: _Look) -> Iterator[str]:
    if "frame" not in look.locs or not len(look.locs):
        return
    frames = look.locs.data["frame"]
    low, high = int(frames.min()), int(frames.max())  # type: ignore[arg-type]
    if low == high and len(look.locs) > 100:
        yield f"all localizations are in frame {low}"
    elif low == 1 and len(look.locs) > 5 * high:
        yield "no localization is in frame 0: the file may count frames from 1; times are then one frame late"


def _precision(look: _Look) -> Iterator[str]:
    for axis in "xy":
        error, width = f"{axis}_err", f"sigma_{axis}"
        if error in look.locs and width in look.locs:
            larger = float(np.nanmean(_values(look.sample, error) > _values(look.sample, width)))
            if larger > 0.2:
                yield f"{error} is larger than the PSF width {width} in {larger:.0%} of the rows; check both columns"
    for name in ("x_err", "y_err", "z_err", "sigma_x", "sigma_y"):
        if name in look.locs and (bad := float(np.mean(_values(look.sample, name) <= 0))) > 0.001:
            yield f"{name} is zero or negative in {bad:.1%} of the rows"


def _photons(look: _Look) -> Iterator[str]:
    median = _median(look.sample, "photons")
    if median is None:
        return
    if 0 <= median < 1:
        yield f"the median of photons is {median:.3g}: these are no photons, or they were normalized"
    elif median > 1e6:
        yield f"the median of photons is {median:.3g}: these may be camera counts"
    if (negative := float(np.mean(_values(look.sample, "photons") < 0))) > 0.001:
        yield f"photons are negative in {negative:.1%} of the rows"


def _repeats(look: _Look) -> Iterator[str]:
    position = [name for name in ("x", "y", "z") if name in look.locs]
    repeated = 1 - look.locs.data.select(pl.struct(position).hash().n_unique()).item() / len(look.locs)
    if repeated > 0.01:
        yield f"{repeated:.1%} of the localizations repeat the position of another one exactly"


def _gaps(look: _Look) -> Iterator[str]:
    for name in look.locs.columns:
        values = look.sample[name]
        missing = float(((values.is_nan() if values.dtype.is_float() else values.is_null()).fill_null(True)).mean())  # type: ignore[arg-type]
        if missing == 1:
            yield f"{name} is empty"
        elif missing > 0:
            yield f"{name} is missing in {missing:.2%} of the rows"
    if "p" in look.locs and not look.locs.data["p"].is_between(0, 1).all():
        yield "p is outside 0 to 1 in some rows; it is no probability"


_CHECKS: Final[tuple[Callable[[_Look], Iterator[str]], ...]] = (
    _unit_of_positions,
    _extent,
    _depth,
    _frames,
    _precision,
    _photons,
    _repeats,
    _gaps,
)


def _values(sample: pl.DataFrame, name: str) -> NDArray[np.float64]:
    return sample[name].cast(pl.Float64).to_numpy()


def _range(sample: pl.DataFrame, name: str) -> float:
    return float(np.ptp(_values(sample, name)))


def _span(sample: pl.DataFrame) -> float:
    return max(_range(sample, "x"), _range(sample, "y"))


def _median(sample: pl.DataFrame, name: str) -> float | None:
    """Median of a column where it is a number; None when there is no such column or it is empty."""
    if name not in sample.columns:
        return None
    values = _values(sample, name)
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else None
