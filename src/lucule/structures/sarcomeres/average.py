"""The average of many aligned double lines: their density map, and the table from which its resolution is told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from lucule.core import Localizations
from lucule.structures.sarcomeres.likelihood import Floats
from lucule.structures.sarcomeres.profiles import Profile, axial_profile, radial_profile


@dataclass(frozen=True, slots=True, eq=False)
class Average:
    """Aligned double lines, every one weighing the same.

    Attributes
    ----------
    density
        `(v, u)` map, per um2 of one sarcomere with a total of 1.
    u_nm, v_nm
        Edges of its bins.
    sarcomeres, files
        How many were averaged, from how many files.
    axial, radial
        Profiles of all localizations together.
    """

    density: Floats
    u_nm: Floats
    v_nm: Floats
    sarcomeres: int
    files: int
    axial: Profile
    radial: Profile


def average(aligned: pl.DataFrame, *, bin_nm: float = 5.0, u_nm: float = 250.0, v_nm: float = 1000.0) -> Average | None:
    """Average aligned double lines; None where there are none.

    Parameters
    ----------
    aligned
        `sarcomere`, `u_nm`, `v_nm` as `Sarcomeres.aligned` has them, and `file` where there are several.
    bin_nm
        Of the map.
    u_nm, v_nm
        How far it reaches along and across the myofibril.
    """
    if not aligned.height:
        return None
    keys = ["file", "sarcomere"] if "file" in aligned.columns else ["sarcomere"]
    weight = 1 / aligned.select(pl.len().over(keys)).to_series().to_numpy()
    edges = [np.arange(-reach, reach + bin_nm / 2, bin_nm) for reach in (v_nm, u_nm)]
    u, v = aligned["u_nm"].to_numpy(), aligned["v_nm"].to_numpy()
    count = aligned.select(keys).unique().height
    density = np.histogram2d(v, u, edges, weights=weight / count)[0] / (bin_nm / 1000) ** 2
    length = 4 * float(np.std(v))
    files = aligned["file"].n_unique() if "file" in aligned.columns else 1
    return Average(density, edges[1], edges[0], count, files, axial_profile(u), radial_profile(v, length))


def as_movie(aligned: pl.DataFrame) -> Localizations:
    """The aligned double lines as a table in which each is four frames of a movie.

    A Fourier correlation of stretches of time of this table is one of halves of the sarcomeres.
    """
    keys = ["file", "sarcomere"] if "file" in aligned.columns else ["sarcomere"]
    number = aligned.select(pl.struct(keys).rank("dense")).to_series().to_numpy().astype(np.int64) - 1
    rng = np.random.default_rng(0)
    frame = 4 * number + rng.integers(0, 4, len(number))
    columns = {"frame": frame, "x": aligned["u_nm"] + 1000, "y": aligned["v_nm"] + 2000}
    return Localizations(columns)
