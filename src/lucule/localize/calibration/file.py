"""`psf.h5`: one file for the simulator, the training and the fits.

The dataset `stack` with its attributes is what `lucule.simulate.load_psf` reads. Beside it stand the astigmatic
Gaussian, widths, wobble, the Cramer-Rao bound, the beads, quality and history.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import h5py
import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.core import FormatError, InputError, Step
from lucule.core.files import atomic_path, with_ending
from lucule.simulate.optics import Astigmatic, Kernel, Spline, Stack, compile_stack
from lucule.simulate.optics.stacks import put_stack, read_stack

Floats: TypeAlias = NDArray[np.float64]

FORMAT: Final = "lucule PSF calibration"
VERSION: Final = 1
_CURVES: Final = ("z_nm", "sigma_x_nm", "sigma_y_nm", "wobble_x_nm", "wobble_y_nm", "x_err_nm", "y_err_nm", "z_err_nm")


@dataclass(frozen=True, eq=False)
class Calibration:
    """A measured PSF and what is known about it. z points upwards, 0 is the focus.

    Attributes
    ----------
    stack
        Samples of the spline PSF.
    z_range_nm
        Depths in which molecules can be localized.
    curves
        Columns z_nm, sigma_x_nm, sigma_y_nm (Gaussian widths), wobble_x_nm, wobble_y_nm (centre of the Gaussian, 0 in
        the focus), x_err_nm, y_err_nm, z_err_nm (Cramer-Rao bound).
    beads
        One row for each bead: movie, x_nm, y_nm, used, reason, z_nm (its height in the stack), photons, bleached,
        misfit.
    quality
        Numbers that judge the calibration; the unit is in the name.
    astigmatic
        Astigmatic Gaussian; None where the PSF is none.
    history
        How it was made.
    warnings
        What the user should know.
    psf
        The spline PSF as a description for the simulator; its path is that of the file.
    """

    stack: Stack
    z_range_nm: tuple[float, float]
    curves: pl.DataFrame
    beads: pl.DataFrame
    quality: dict[str, Any]
    astigmatic: Astigmatic | None = None
    history: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    psf: Spline = field(default=Spline(path=Path("(not saved)")))

    @property
    def pixel_size_nm(self) -> float:
        """Camera pixel for which the PSF was measured."""
        return float(self.stack.pixel_size_nm or np.nan) * self.stack.oversampling

    @property
    def z_nm(self) -> Floats:
        """Heights of the planes of the stack."""
        centre = self.stack.centre[0] if self.stack.centre else (len(self.stack.values) - 1) / 2
        return np.asarray(np.arange(len(self.stack.values)) - centre, np.float64) * float(
            self.stack.z_step_nm or np.nan
        )

    def kernel(self) -> Kernel:
        """Give the spline PSF on the pixels of its camera, ready for rendering and fitting."""
        return compile_stack(self.stack, (self.pixel_size_nm, self.pixel_size_nm), psf=self.psf)

    def wobble(self, z_nm: Floats) -> Floats:
        """Lateral shift (x, y) of a Gaussian fit at these heights, `(n, 2)`; take it off fitted positions.

        The spline PSF holds it already.

        Raises
        ------
        InputError
            The PSF is nowhere like a Gaussian.
        """
        known = self.curves.filter(pl.col("wobble_x_nm").is_finite())
        if not len(known):
            raise InputError(
                "This PSF is no Gaussian, and has no wobble", next_step="fit the spline PSF, which needs none"
            )
        at = known["z_nm"].to_numpy()
        shifts = [np.interp(z_nm, at, known[f"wobble_{axis}_nm"].to_numpy()) for axis in "xy"]
        return np.stack(shifts, axis=-1)

    def table(self) -> pl.DataFrame:
        """The curves against z."""
        return self.curves

    def summary(self) -> dict[str, Any]:
        """Give the numbers that judge the calibration, units in the names."""
        return {
            "pixel_size_nm": self.pixel_size_nm,
            "z_range_nm": list(self.z_range_nm),
            "z_measured_nm": [float(self.z_nm[0]), float(self.z_nm[-1])],
            "astigmatic": self.astigmatic is not None,
            **self.quality,
        }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `psf.h5`, at once or not at all.

        Raises
        ------
        InputError
            The name does not end in .h5 or .hdf5.
        """
        target = check_name(path)
        with atomic_path(target) as temporary, h5py.File(temporary, "w") as opened:
            opened.attrs["format"], opened.attrs["version"] = FORMAT, VERSION
            put_stack(opened, self.stack)
            opened.attrs["z_range_nm"] = self.z_range_nm
            opened.attrs["quality"] = json.dumps(self.quality)
            opened.attrs["warnings"] = json.dumps(self.warnings)
            opened.attrs["history"] = json.dumps([step.model_dump(mode="json") for step in self.history])
            if self.astigmatic is not None:
                opened.attrs["astigmatic"] = self.astigmatic.model_dump_json()
            for name, table in (("curves", self.curves), ("beads", self.beads)):
                _put_table(opened.create_group(name), table)
        return target


check_name: Final = partial(with_ending, allowed=(".h5", ".hdf5"), otherwise="A PSF calibration is an HDF5 file")
"""Refuses a name under which no calibration can be written, before anything is measured."""


def load_psf_file(path: str | os.PathLike[str]) -> Calibration:
    """Read what `Calibration.save` wrote.

    Raises
    ------
    InputError
        There is no such file.
    FormatError
        It is no PSF calibration, or is damaged.

    Examples
    --------
    >>> load_psf_file("psf.h5")
    Traceback (most recent call last):
    ...
    lucule.core.errors.InputError: There is no such PSF stack. Received: psf.h5.
    """
    stack = read_stack(path)
    try:
        with h5py.File(path, "r") as opened:
            said = dict(opened.attrs)
            if said.get("format") != FORMAT:
                raise FormatError(
                    f"{path} holds a PSF, but no calibration",
                    received=f"format {said.get('format')!r}",
                    allowed=f"{FORMAT!r}, as `lucule calibrate psf` writes",
                )
            curves, beads = _table(opened["curves"]), _table(opened["beads"])
        low, high = said["z_range_nm"]
        astigmatic = said.get("astigmatic")
        return Calibration(
            stack,
            (float(low), float(high)),
            curves.select(_CURVES),
            beads,
            json.loads(said["quality"]),
            None if astigmatic is None else Astigmatic.model_validate_json(astigmatic),
            tuple(Step.model_validate(step) for step in json.loads(said["history"])),
            tuple(json.loads(said["warnings"])),
            Spline(path=Path(path)),
        )
    except (OSError, KeyError, ValueError, pl.exceptions.PolarsError) as error:
        raise FormatError(f"{path} is damaged: {error}") from None


def _put_table(group: h5py.Group, table: pl.DataFrame) -> None:
    for column in table:
        values = column.to_numpy() if column.dtype != pl.String else np.array(column.to_list(), dtype=object)
        kind = h5py.string_dtype() if column.dtype == pl.String else None
        group.create_dataset(column.name, data=values, dtype=kind)
    group.attrs["columns"] = json.dumps(table.columns)


def _table(group: h5py.Group) -> pl.DataFrame:
    names = json.loads(group.attrs["columns"])
    columns = {}
    for name in names:
        dataset = group[name]
        text = h5py.check_string_dtype(dataset.dtype) is not None
        columns[name] = dataset.asstr()[()].tolist() if text else dataset[()]
    return pl.DataFrame(columns)
