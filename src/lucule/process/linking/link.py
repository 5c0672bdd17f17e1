"""Join the localizations of one blink to one, with errors and photons combined as they must be."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from lucule.core import ColumnError, Config, Localizations, step
from lucule.process.linking.choice import LinkChoice, choose_link, variances
from lucule.process.linking.kernel import chains
from lucule.process.series import in_order

Floats = NDArray[np.float64]
Auto = Literal["auto"]

_SUMMED: Final = ("photons",)
_LARGEST: Final = ("p",)
_SHARED: Final = "n_shared"
# what describes a place or a class is taken from the brightest row
_OF_BRIGHTEST: Final = ("label", "p_label", "cluster")


class LinkSettings(Config):
    """What counts as the same molecule.

    Attributes
    ----------
    radius_nm
        Reach in the plane; `auto`: three times the error of the difference, for each pair by its own errors where the
        table has them.
    gap_frames
        Frames for which a molecule may be unseen in between; `auto`: from how soon molecules come back.
    radius_z_nm
        Reach along z; None: any that the errors allow where the radius is `auto`, else any.
    """

    radius_nm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Auto = "auto"
    gap_frames: Annotated[int, Field(ge=0, le=1_000_000)] | Auto = "auto"
    radius_z_nm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


CAML: Final = LinkSettings(radius_nm=50, gap_frames=25)
"""What Williamson et al. 2020 used before their cluster analysis."""


@step
def mark_events(
    locs: Localizations,
    *,
    settings: LinkSettings = LinkSettings(),  # noqa: B008 (frozen)
    choice: LinkChoice | None = None,
) -> Localizations:
    """Number the blink to which each row belongs (column `event`), and keep all rows.

    Parameters, errors as for `link`.
    """
    return _marked(locs, settings, choice)


@step
def link(
    locs: Localizations,
    *,
    settings: LinkSettings = LinkSettings(),  # noqa: B008 (frozen)
    choice: LinkChoice | None = None,
) -> Localizations:
    """Join localizations that are near in space and follow each other in time to one row per blink.

    Positions are means weighted with 1 / error^2, for each axis its own; their errors are 1 / sqrt(sum of 1 / error^2).
    Where the places of neighbouring frames were found together (`n_shared`, the number of frames), each row brings only
    its own frame's part, 1 / (n_shared error^2), and the error is no larger than that of the best row.
    Photons are added; widths of the PSF and other measurements are means weighted with photons; background per pixel
    and frame is a mean. `frame` is the first one, `last_frame` the last, `n_frames` the number of rows joined. Labels
    and the like are those of the brightest row. Rows without an error (NaN, or 0) count as the least precise of their
    blink.

    Parameters
    ----------
    locs
        Needs `frame`; different channels and fields of view are never joined.
    settings
        Radius and dark time, or `auto`.
    choice
        What `choose_link` gave for the same table and settings, where it is at hand already.

    Returns
    -------
    Localizations
        One row per blink, in the order of first appearance.

    Raises
    ------
    ColumnError
        There is no column `frame`.
    WorkError
        The radius is wanted from the data, which do not tell it.

    Examples
    --------
    >>> locs = Localizations({"frame": [0, 1, 2, 9], "x": [10.0, 12.0, 14.0, 500.0], "y": [0.0] * 4,
    ...                       "x_err": [1.0, 1.0, 2.0, 3.0], "y_err": [1.0] * 4, "photons": [100, 200, 300, 50]})
    >>> linked = link(locs, settings=LinkSettings(radius_nm=20, gap_frames=0))
    >>> linked["n_frames"].tolist(), linked["photons"].tolist(), linked["x"].round(2).tolist()
    ([3, 1], [600.0, 50.0], [11.329999923706055, 500.0])
    """
    return _joined(_marked(locs, settings, choice))


@step
def join_events(locs: Localizations) -> Localizations:
    """Join the rows of each blink that `mark_events` has numbered; `link` is both in one.

    Raises
    ------
    ColumnError
        There is no column `event`.
    """
    if "event" not in locs:
        raise ColumnError(
            "Joining needs to know the blinks, and the table has no column event",
            received=f"columns {', '.join(locs.columns)}",
            next_step="number the blinks first, with mark_events",
        )
    return _joined(locs)


def _marked(locs: Localizations, settings: LinkSettings, choice: LinkChoice | None) -> Localizations:
    radius, gap, sigmas = settings.radius_nm, settings.gap_frames, np.inf
    if radius == "auto" or gap == "auto":
        choice = choice or choose_link(
            locs, radius_nm=None if radius == "auto" else radius, gap_frames=None if gap == "auto" else gap
        )
        radius, gap, sigmas = choice.radius_nm, choice.gap_frames, choice.sigmas
    series = in_order(locs, "Linking")
    event = np.empty(len(locs), np.int64)
    event[series.order] = chains(
        series.time, (locs.xyz() if locs.is_3d else locs.xy())[series.order],
        radius=float(radius), radius_z=settings.radius_z_nm or np.inf, gap=int(gap),
        variance=variances(locs)[series.order],
        sigmas=sigmas,
    )  # fmt: skip
    data = locs.data.with_columns(pl.Series("event", event.astype(np.uint32)))
    return Localizations(data, locs.meta)


def _weights(variance: Floats) -> Floats:
    """1 / variance; where it is not known, that of the least precise rows (95th percentile)."""
    known = np.isfinite(variance) & (variance > 0)
    if not known.any():
        return np.ones(len(variance))
    unknown = 1 / np.percentile(variance[known], 95)
    return np.where(known, 1 / np.where(known, variance, 1), unknown)


class _Groups:
    """Sums and the like over the rows of each event."""

    def __init__(self, event: NDArray[Any]) -> None:
        self.order = np.argsort(event, kind="stable")
        ordered = event[self.order]
        self.starts = np.flatnonzero(np.diff(ordered.astype(np.int64), prepend=-1))
        self.sizes = np.diff(np.append(self.starts, len(event)))

    def sum(self, values: Floats) -> Floats:
        result: Floats = np.add.reduceat(values[self.order], self.starts)
        return result

    def extreme(self, values: NDArray[Any], of: np.ufunc) -> NDArray[Any]:
        result: NDArray[Any] = of.reduceat(values[self.order], self.starts)
        return result

    def brightest(self, photons: Floats) -> NDArray[np.int64]:
        """Row with most photons of each event; of equals the first."""
        key = photons[self.order]
        group = np.repeat(np.arange(len(self.starts)), self.sizes)
        ranked = np.lexsort((-key, group))
        found: NDArray[np.int64] = self.order[ranked[self.starts]]
        return found


def _joined(locs: Localizations) -> Localizations:
    if not len(locs):
        extra = [pl.Series("n_frames", [], pl.UInt16), pl.Series("last_frame", [], pl.UInt32)]
        return Localizations(locs.data.drop(_SHARED, strict=False).with_columns(extra), locs.meta)
    groups = _Groups(locs["event"])
    photons = locs["photons"].astype(np.float64) if "photons" in locs else np.ones(len(locs))
    bright = np.where(np.isfinite(photons) & (photons > 0), photons, 0.0)
    bright = np.where(groups.sum(bright)[_position(groups, len(locs))] > 0, bright, 1.0)
    chosen = groups.brightest(bright)
    first = groups.order[groups.starts]
    shared = np.maximum(locs[_SHARED], 1).astype(np.float64) if _SHARED in locs else np.ones(len(locs))
    columns: dict[str, pl.Series] = {}
    done: dict[str, Floats] = {}
    for axis in ("x", "y", "z"):
        if axis not in locs:
            continue
        error = f"{axis}_err"
        weight = np.ones(len(locs))
        if error in locs:
            weight = _weights(locs[error].astype(np.float64) ** 2)
        own = weight / shared
        total = groups.sum(own)
        done[axis] = groups.sum(own * locs[axis].astype(np.float64)) / total
        if error in locs:
            done[error] = 1 / np.sqrt(np.maximum(total, groups.extreme(weight, np.maximum)))
            known = np.isfinite(locs[error]) & (locs[error] > 0)
            done[error][groups.extreme(known, np.logical_or) == 0] = np.nan
    light = groups.sum(bright)
    # joined rows share no frames any more
    for name in locs.columns:
        if name == _SHARED:
            continue
        values = locs.data[name]
        if name in done:
            columns[name] = pl.Series(name, done[name])
        elif name in _SUMMED:
            columns[name] = pl.Series(name, groups.sum(values.to_numpy().astype(np.float64)))
        elif name in _LARGEST:
            columns[name] = pl.Series(name, groups.extreme(values.to_numpy(), np.fmax))
        elif name in _OF_BRIGHTEST:
            columns[name] = values.gather(chosen)
        elif name == "n_frames" or not values.dtype.is_float():
            columns[name] = values.gather(first)
        elif name == "background":
            columns[name] = pl.Series(name, groups.sum(values.to_numpy().astype(np.float64)) / groups.sizes)
        else:
            columns[name] = pl.Series(name, groups.sum(bright * values.to_numpy().astype(np.float64)) / light)
    counted = locs["n_frames"].astype(np.int64) if "n_frames" in locs else np.ones(len(locs), np.int64)
    joined = groups.sum(counted.astype(np.float64)).astype(np.int64)
    if joined.max() > np.iinfo(np.uint16).max:
        joined = np.minimum(joined, np.iinfo(np.uint16).max)
    columns["n_frames"] = pl.Series("n_frames", joined.astype(np.uint16))
    columns["last_frame"] = pl.Series("last_frame", groups.extreme(locs["frame"], np.maximum))
    return Localizations(pl.DataFrame(list(columns.values())), locs.meta)


def _position(groups: _Groups, n: int) -> NDArray[np.int64]:
    """Number of the group of each row."""
    position = np.empty(n, np.int64)
    position[groups.order] = np.repeat(np.arange(len(groups.starts)), groups.sizes)
    return position
