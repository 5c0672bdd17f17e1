"""Registration of channels and tables: which transformation brings one onto the other, and how well, in nm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from lucule.core import Config, InputError, Localizations, WorkError, step
from lucule.process.matching import PairsOfPoints, pairs_of_beads, pairs_of_structures

Floats = NDArray[np.float64]
Kind = Literal["shift", "affine", "smooth"]
KINDS: Final = ("shift", "affine", "smooth")

# pairs that a kind needs, so that leaving out a tenth still determines it
FEWEST: Final = {"shift": 2, "affine": 6, "smooth": 12}
_FOLDS: Final = 10
_SMOOTHING: Final = (0.0, 1e-2, 1e-1, 1.0, 10.0, 100.0)
_MAP_NODES: Final = 48
_OUTLIER: Final = 5.0


class RegisterSettings(Config):
    """How a table is registered.

    Attributes
    ----------
    kind
        `shift`, `affine`, `smooth` (affine and a thin-plate spline of what is left), or `auto`: the one whose error on
        pairs that were left out is smallest; simpler ones where they are as good.
    reach_nm
        Largest distance between the same bead in both, before registration.
    tile_nm
        Side of the squares whose shifts are measured, where structures serve as beads.
    """

    kind: Literal["auto", "shift", "affine", "smooth"] = "auto"
    reach_nm: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2000.0
    tile_nm: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4000.0


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """A transformation and its evidence; all in nm.

    Attributes
    ----------
    kind
        `shift`, `affine` or `smooth`.
    pairs
        Points of the moving and of the reference table, `(n, d)` each.
    matrix
        Affine part, `(d, d + 1)`: moved = matrix[:, :d] @ point + matrix[:, d].
    smoothing
        Of the thin-plate spline in the plane; None without one.
    error_nm
        Root mean square distance in the plane of pairs that were left out of the fit (target registration error).
    error_interval_nm
        95 % interval of that, by resampling the pairs.
    before_nm
        The same distance before registration.
    errors_nm
        Error of each kind that was tried.
    source
        `beads` or `structures`.
    """

    kind: Kind
    pairs: PairsOfPoints
    matrix: Floats
    smoothing: float | None
    error_nm: float
    error_interval_nm: tuple[float, float]
    before_nm: float
    errors_nm: dict[str, float]
    source: str

    def __str__(self) -> str:
        """Short, for the history of a table."""
        return f"{self.kind} from {len(self.pairs.moving)} {self.source}, {self.matrix.round(9).tolist()}, error {self.error_nm:.2f} nm"

    def moved(self, points: Floats) -> Floats:
        """Points of the moving table in the reference's coordinates, `(n, 2)` or `(n, 3)`."""
        d = self.matrix.shape[0]
        given = np.asarray(points, np.float64)
        result = given.copy()
        used = given[:, :d]
        result[:, :d] = used @ self.matrix[:, :d].T + self.matrix[:, d]
        if self.smoothing is not None:
            result[:, :2] += _map_at(self._map(), given[:, :2])
        return result

    def _map(self) -> tuple[Floats, Floats, Floats]:
        """What the spline adds, on a grid over the beads: lower corner, step, values `(nodes, nodes, 2)`."""
        moving, reference = self.pairs.moving[:, :2], self.pairs.reference[:, :2]
        d = self.matrix.shape[0]
        affine = self.pairs.moving[:, :d] @ self.matrix[:, :d].T + self.matrix[:, d]
        low, high = moving.min(axis=0), moving.max(axis=0)
        nodes = [np.linspace(low[i], high[i], _MAP_NODES) for i in range(2)]
        grid = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, 2)
        spline = _spline(moving, reference - affine[:, :2], self.smoothing or 0.0)
        values = spline(grid).reshape(_MAP_NODES, _MAP_NODES, 2)
        return low, (high - low) / (_MAP_NODES - 1), values

    def residuals(self) -> pl.DataFrame:
        """Residual map: position of each pair in the reference, what is left in x and y, and its length, nm."""
        left = self.pairs.reference[:, :2] - self.moved(self.pairs.moving)[:, :2]
        x, y = self.pairs.reference[:, 0], self.pairs.reference[:, 1]
        return pl.DataFrame({"x": x, "y": y, "dx_nm": left[:, 0], "dy_nm": left[:, 1],
                             "residual_nm": np.hypot(left[:, 0], left[:, 1])})  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """All numbers by name."""
        d = self.matrix.shape[0]
        shift = self.matrix[:, d] + (self.matrix[:, :d] - np.eye(d)) @ self.pairs.moving[:, :d].mean(axis=0)
        scale = float(np.sqrt(abs(np.linalg.det(self.matrix[:2, :2]))))
        angle = float(np.degrees(np.arctan2(self.matrix[1, 0] - self.matrix[0, 1], self.matrix[0, 0] + self.matrix[1, 1])))
        return {
            "kind": self.kind, "from": self.source, "pairs": len(self.pairs.moving), "shift_nm": shift.tolist(),
            "scale": scale, "rotation_deg": angle, "error_before_nm": self.before_nm, "registration_error_nm": self.error_nm,
            "registration_error_nm_interval": self.error_interval_nm,
            **{f"error_{kind}_nm": error for kind, error in self.errors_nm.items()},
        }  # fmt: skip


@step
def register(
    moving: Localizations,
    reference: Localizations,
    *,
    beads: pl.DataFrame | None = None,
    settings: RegisterSettings = RegisterSettings(),  # noqa: B008 (frozen)
) -> Localizations:
    """Bring a table into the coordinates of another one.

    Parameters
    ----------
    moving
        Table to move.
    reference
        Table that stays.
    beads
        Beads seen in both: columns x, y (z) of the moving table and reference_x, reference_y (reference_z); or x, y and
        channel, with the lower channel for the reference. None: the structures of the tables serve as beads.
    settings
        Kind of transformation, and how far to look.

    Returns
    -------
    Localizations
        The moving table, moved.

    Raises
    ------
    InputError
        The beads cannot be used.
    WorkError
        Too few pairs were found.
    """
    return _moved_table(moving, estimate_registration(moving, reference, beads=beads, settings=settings), reference)


@step
def apply_registration(locs: Localizations, registration: Registration) -> Localizations:
    """Move a table by a known transformation."""
    return _moved_table(locs, registration, locs)


def estimate_registration(
    moving: Localizations,
    reference: Localizations,
    *,
    beads: pl.DataFrame | None = None,
    settings: RegisterSettings = RegisterSettings(),  # noqa: B008 (frozen)
) -> Registration:
    """Find the transformation. Parameters and errors are those of `register`.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> spots = rng.uniform(0, 20_000, (60, 2))
    >>> moved = spots * 1.001 + [300.0, -150.0] + rng.normal(0, 3, spots.shape)
    >>> beads = pl.DataFrame({"x": moved[:, 0], "y": moved[:, 1], "reference_x": spots[:, 0], "reference_y": spots[:, 1]})
    >>> table = Localizations({"x": moved[:, 0], "y": moved[:, 1]})
    >>> found = estimate_registration(table, table, beads=beads)
    >>> found.kind, bool(found.error_nm < 6)
    ('affine', True)
    """
    if beads is not None:
        pairs, source = pairs_of_beads(beads, reach_nm=settings.reach_nm), "beads"
    else:
        shift = np.array(moving.meta.origin_nm) - np.array(reference.meta.origin_nm)
        if np.abs(shift).max() > 1e5:
            raise InputError("The tables lie in different places of the stage", received=f"{shift.tolist()} nm apart")
        pairs, source = pairs_of_structures(
            moving, reference, tile_nm=settings.tile_nm, reach_nm=settings.reach_nm
        ), "structures"  # fmt: skip
    return fit_pairs(pairs, kind=settings.kind, source=source)


def fit_pairs(pairs: PairsOfPoints, *, kind: str = "auto", source: str = "beads") -> Registration:
    """Fit a transformation to pairs of points; those that fit far worse than the others are left out.

    Raises
    ------
    WorkError
        There are too few pairs for the kind.
    """
    n = len(pairs.moving)
    wanted: tuple[Kind, ...] = KINDS if kind == "auto" else (kind,)  # type: ignore[assignment]
    possible = [k for k in wanted if n >= FEWEST[k]]
    if not possible:
        raise WorkError(
            "There are too few pairs of points for a registration", received=f"{n} pairs",
            allowed=f"{FEWEST[wanted[0]]} or more for {wanted[0]}",
            next_step="image more beads, or give a larger reach_nm",
        )  # fmt: skip
    pairs = _without_outliers(pairs)
    possible = [k for k in possible if len(pairs.moving) >= FEWEST[k]]
    tried = {k: _left_out(pairs, k) for k in possible}
    errors = {k: float(np.sqrt(np.mean(found[0] ** 2))) for k, found in tried.items()}
    best = possible[0]
    for candidate in possible[1:]:  # a kind with more freedom must be clearly better
        if errors[candidate] < 0.97 * errors[best]:
            best = candidate
    left, smoothing = tried[best]
    rng = np.random.default_rng(0)
    drawn = [np.sqrt(np.mean(left[rng.integers(0, len(left), len(left))] ** 2)) for _ in range(500)]
    low, high = np.percentile(drawn, (2.5, 97.5))
    before = pairs.reference[:, :2] - pairs.moving[:, :2]
    return Registration(
        best, pairs, _affine(pairs, best), smoothing, errors[best], (float(low), float(high)),
        float(np.sqrt(np.mean(np.sum(before**2, axis=1)))), errors, source,
    )  # fmt: skip


def _affine(pairs: PairsOfPoints, kind: Kind) -> Floats:
    moving, reference = pairs
    d = moving.shape[1]
    if kind == "shift":
        return np.column_stack([np.eye(d), np.median(reference - moving, axis=0)])
    # z follows the plane as a tilted plane does; its own scale is left as it is
    centre = moving.mean(axis=0)
    base = np.column_stack([moving[:, :2] - centre[:2], np.ones(len(moving))])
    target = reference.copy()
    if d == 3:
        target[:, 2] -= moving[:, 2]
    found = np.linalg.lstsq(base, target, rcond=None)[0].T
    matrix = np.zeros((d, d + 1))
    matrix[:, :2] = found[:, :2]
    if d == 3:
        matrix[2, 2] = 1.0
    matrix[:, d] = found[:, 2] - found[:, :2] @ centre[:2]
    return matrix


def _spline(points: Floats, values: Floats, smoothing: float) -> Any:
    from scipy.interpolate import RBFInterpolator

    # degree 1 is the affine part, which has been taken off but may be adjusted
    return RBFInterpolator(points, values, kernel="thin_plate_spline", smoothing=smoothing, degree=1)


def _fitted(pairs: PairsOfPoints, kind: Kind, smoothing: float, at: Floats) -> Floats:
    d = pairs.moving.shape[1]
    matrix = _affine(pairs, kind)

    def affine(points: Floats) -> Floats:
        result: Floats = (points @ matrix[:, :d].T + matrix[:, d])[:, :2]
        return result

    found = affine(at)
    if kind == "smooth":
        scale = np.ptp(pairs.moving[:, :2], axis=0).max() or 1.0
        left = pairs.reference[:, :2] - affine(pairs.moving)
        found = found + _spline(pairs.moving[:, :2] / scale, left, smoothing)(at[:, :2] / scale)
    return found


def _left_out(pairs: PairsOfPoints, kind: Kind) -> tuple[Floats, float | None]:
    """Distances of pairs that were left out of the fit in turn; for a spline, with the best smoothing, and that."""
    n = len(pairs.moving)
    fold = np.random.default_rng(0).permutation(n) % min(_FOLDS, n)
    best: tuple[Floats, float | None] | None = None
    scale = float(np.ptp(pairs.moving[:, :2], axis=0).max() or 1.0)
    for smoothing in _SMOOTHING if kind == "smooth" else (0.0,):
        distance = np.empty(n)
        for number in range(int(fold.max()) + 1):
            out = fold == number
            rest = PairsOfPoints(pairs.moving[~out], pairs.reference[~out])
            found = _fitted(rest, kind, smoothing, pairs.moving[out])
            distance[out] = np.linalg.norm(found - pairs.reference[out, :2], axis=1)
        if best is None or np.mean(distance**2) < np.mean(best[0] ** 2):
            # the spline of the result works in nm, that of the folds in fields
            best = (distance, smoothing * scale**2 if kind == "smooth" else None)
    if best is None:
        raise AssertionError("no smoothing was tried")
    return best


def _without_outliers(pairs: PairsOfPoints) -> PairsOfPoints:
    for _ in range(3):
        kind: Kind = "affine" if len(pairs.moving) >= FEWEST["affine"] else "shift"
        left = np.linalg.norm(_fitted(pairs, kind, 0.0, pairs.moving) - pairs.reference[:, :2], axis=1)
        limit = _OUTLIER * max(float(np.median(left)), 1e-6) / 0.8326
        keep = left <= limit
        if keep.all() or keep.sum() < FEWEST[kind]:
            break
        pairs = PairsOfPoints(pairs.moving[keep], pairs.reference[keep])
    return pairs


def _map_at(grid: tuple[Floats, Floats, Floats], points: Floats) -> Floats:
    from scipy.ndimage import map_coordinates

    low, size, values = grid
    # beyond the beads the map goes on as at its border, where it is known
    at = np.clip((points - low) / np.where(size > 0, size, 1), 0, _MAP_NODES - 1).T
    return np.column_stack([map_coordinates(values[..., axis], at, order=3, mode="nearest") for axis in range(2)])


def _moved_table(locs: Localizations, registration: Registration, reference: Localizations) -> Localizations:
    if not len(locs):
        return locs
    shift = np.array(locs.meta.origin_nm) - np.array(reference.meta.origin_nm)
    d = registration.matrix.shape[0]
    points = locs.xyz().astype(np.float64) if d == 3 or "z" in locs else locs.xy().astype(np.float64)
    found = registration.moved(points + shift[: points.shape[1]])
    columns = [pl.Series(axis, found[:, i].astype(np.float32)) for i, axis in enumerate("xyz"[: points.shape[1]])]
    if "z" not in locs:
        columns = columns[:2]
    meta = locs.meta.model_copy(update={"origin_nm": reference.meta.origin_nm})
    return Localizations(locs.data.with_columns(columns), meta)
