"""Descriptions of point spread functions, as they stand in YAML files.

A description says what the PSF is, in nm; `compile_psf` turns it into numbers for a camera's pixels. Everywhere z
points upwards, away from the coverslip, and 0 is the focus.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from lucule.core import Config

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Depth(Config):
    """What all PSFs have: the depth in which they are defined.

    Attributes
    ----------
    z_range_nm
        Lowest and highest z; emitters outside raise an error.
    """

    z_range_nm: tuple[Finite, Finite] = (-750.0, 750.0)

    @field_validator("z_range_nm")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError("the lower z first, then the higher one, nm")
        return value


class Gaussian(Depth):
    """Gaussian integrated over each pixel.

    Attributes
    ----------
    sigma_nm
        Standard deviation in focus.
    depth_nm
        z at which sigma has grown by sqrt(2): sigma(z) = sigma sqrt(1 + (z / depth)^2). None: the same at every z.

    Examples
    --------
    >>> Gaussian(sigma_nm=140)
    Gaussian(sigma_nm=140.0)
    """

    kind: Literal["gaussian"] = "gaussian"
    sigma_nm: Positive = 130.0
    depth_nm: Positive | None = 400.0


class DefocusCurve(Config):
    """Width of an astigmatic Gaussian along one axis, from Huang et al. 2008 and Holtzer et al. 2007.

    sigma(z) = sigma sqrt(1 + u^2 + a u^3 + b u^4) with u = (z - focus) / depth.
    """

    sigma_nm: Positive
    focus_nm: Finite
    depth_nm: Positive
    a: Finite = 0.0
    b: Finite = 0.0


class Astigmatic(Depth):
    """Elliptic Gaussian whose widths in x and y follow their own defocus curves.

    With the focus of x below that of y, emitters above the focus are wide in x.

    Raises
    ------
    InputError
        A curve falls to zero width inside the depth range.
    """

    kind: Literal["astigmatic"] = "astigmatic"
    x: DefocusCurve = DefocusCurve(sigma_nm=125.0, focus_nm=-220.0, depth_nm=400.0)
    y: DefocusCurve = DefocusCurve(sigma_nm=125.0, focus_nm=220.0, depth_nm=400.0)

    @model_validator(mode="after")
    def _has_width(self) -> Self:
        low, high = self.z_range_nm
        for name, curve in (("x", self.x), ("y", self.y)):
            for step in range(201):
                u = (low + (high - low) * step / 200 - curve.focus_nm) / curve.depth_nm
                if 1 + u**2 + curve.a * u**3 + curve.b * u**4 <= 0:
                    raise ValueError(f"the defocus curve of {name} falls to zero inside {low:g} to {high:g} nm")
        return self


class Objective(Depth):
    """An objective with a pupil, and the wavefront in it.

    Attributes
    ----------
    numerical_aperture, wavelength_nm, immersion_index, sample_index
        Objective, emission and media; the coverslip has the index of the immersion.
    depth_nm
        Height of the focus above the coverslip; matters where the two indices differ.
    model
        `vectorial`: field of a freely rotating dipole through the interface and a high-aperture objective (Stallinga
        and Rieger 2010). `scalar`: one scalar field with the apodisation of an aplanatic objective.
    zernike_nm
        Aberrations: index -> root mean square of the wavefront in nm.
    zernike_order
        Which index: `noll` (from 1; 5, 6 are astigmatism) or `osa` (OSA/ANSI, from 0; 3, 5 are astigmatism).
    blur_nm
        Standard deviation of a Gaussian that widens the PSF, for what no pupil holds (dye rotation, vibration).
    window_nm
        Side of the square on which the PSF is not zero; photons are counted inside it.
    oversampling
        Knots of the spline for one pixel; None: as many as bring them to 60 nm or closer, which holds the PSF to
        5e-4 of its peak (one knot for a pixel of 100 nm: 1e-2).
    z_step_nm
        Distance of the knots in z.
    """

    z_range_nm: tuple[Finite, Finite] = (-600.0, 600.0)
    numerical_aperture: Positive = 1.45
    wavelength_nm: Positive = 680.0
    immersion_index: Annotated[float, Field(ge=1)] = 1.518
    sample_index: Annotated[float, Field(ge=1)] = 1.518
    depth_nm: NotNegative = 0.0
    model: Literal["scalar", "vectorial"] = "vectorial"
    zernike_nm: dict[int, Finite] = {}
    zernike_order: Literal["noll", "osa"] = "noll"
    blur_nm: NotNegative = 0.0
    window_nm: Positive = 2500.0
    oversampling: int | None = Field(default=None, ge=1, le=8)
    z_step_nm: Positive = 25.0

    zernike_first: ClassVar[dict[str, int]] = {"noll": 1, "osa": 0}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.numerical_aperture >= self.immersion_index:
            raise ValueError(
                f"numerical aperture {self.numerical_aperture:g} must be below the immersion index "
                f"{self.immersion_index:g}"
            )
        if self.model == "scalar" and self.numerical_aperture >= self.sample_index:
            raise ValueError(
                f"the scalar model needs a numerical aperture below the sample index {self.sample_index:g}; "
                "the vectorial model holds light beyond the critical angle too"
            )
        if self.numerical_aperture >= self.sample_index and self.depth_nm + self.z_range_nm[0] < 0:
            raise ValueError(
                f"emitters at z = {self.z_range_nm[0]:g} nm would lie under the coverslip: depth_nm must be at least "
                f"{-self.z_range_nm[0]:g} where the numerical aperture exceeds the sample index"
            )
        first = self.zernike_first[self.zernike_order]
        if any(index < first for index in self.zernike_nm):
            raise ValueError(f"{self.zernike_order} indices of Zernike polynomials start at {first}")
        return self


class Pupil(Objective):
    """PSF of a pupil with Zernike aberrations, scalar or vectorial."""

    kind: Literal["pupil"] = "pupil"


class DoubleHelix(Objective):
    """Two lobes that turn around each other with z: rings of growing vortex charge in the pupil.

    The phase in ring l of L, ((l - 1) / L)^exponent < rho <= (l / L)^exponent, is (2 l - 1) phi (Prasad 2013;
    Berlich and Stallinga 2018). More rings: a longer depth range and larger lobes.
    """

    kind: Literal["double_helix"] = "double_helix"
    z_range_nm: tuple[Finite, Finite] = (-1000.0, 1000.0)
    window_nm: Positive = 4500.0
    rings: int = Field(default=4, ge=2, le=30)
    exponent: Positive = 0.5
    rotation_deg: Finite = 0.0


class Tetrapod(Objective):
    """Two lobes along one axis above and along the other below the focus (Shechtman et al. 2014, 2015).

    Attributes
    ----------
    astigmatism_nm
        Primary, secondary, tertiary, ... astigmatism of the phase mask, root mean square in nm.
    rotation_deg
        Turns the mask.
    """

    kind: Literal["tetrapod"] = "tetrapod"
    z_range_nm: tuple[Finite, Finite] = (-1500.0, 1500.0)
    window_nm: Positive = 6000.0
    z_step_nm: Positive = 40.0
    astigmatism_nm: tuple[Finite, ...] = (120.0, -140.0, -20.0)
    rotation_deg: Finite = 0.0


class Spline(Config):
    """Cubic spline through a measured PSF, for example the average of bead stacks.

    Attributes
    ----------
    path
        HDF5 file with the dataset `stack` `(z, y, x)`, or a TIFF or .npy file with such a stack. The planes go upwards.
    pixel_size_nm, z_step_nm
        Sampling of the stack; an HDF5 file written by `save_stack` or `lucule calibrate psf` brings its own.
    oversampling
        Samples of the stack for one camera pixel; None: what the file says, else 1.
    centre
        Position (z, y, x) of the emitter in the stack, counted in samples from 0 at the middle of the first; None: what
        the file says, else z in the middle plane, x and y at the centre of mass of that plane.
    subtract_border
        Take the median of its border off each plane, the background of a measured stack.
    normalise
        `plane`: every plane holds the same number of photons. `focus`: the brightest plane does, and the others less
        where their light leaves the window.
    """

    kind: Literal["spline"] = "spline"
    path: Path
    pixel_size_nm: Positive | None = None
    z_step_nm: Positive | None = None
    oversampling: int | None = Field(default=None, ge=1, le=8)
    centre: tuple[Finite, Finite, Finite] | None = None
    subtract_border: bool = True
    normalise: Literal["plane", "focus"] = "plane"


class FieldDependent(Config):
    """Aberrations that change over the field of view.

    Attributes
    ----------
    base
        The PSF in the middle; a pupil, a double helix or a Tetrapod.
    field_size_nm
        Size of the field (x, y), from the outer corner of pixel (0, 0).
    zernike_field_nm
        Zernike index -> coefficients c of c0 + c1 u + c2 v + c3 u^2 + c4 u v + c5 v^2, added to those of `base`; u and
        v are -1 and +1 at the edges of the field, root mean square in nm. Missing coefficients are 0.
    nodes
        Positions (x, y) at which the PSF is computed; between them it is interpolated bilinearly.
    """

    kind: Literal["field_dependent"] = "field_dependent"
    base: Annotated[Pupil | DoubleHelix | Tetrapod, Field(discriminator="kind")]
    field_size_nm: tuple[Positive, Positive]
    zernike_field_nm: dict[int, Annotated[list[Finite], Field(min_length=1, max_length=6)]]
    nodes: tuple[Annotated[int, Field(ge=2, le=32)], Annotated[int, Field(ge=2, le=32)]] = (5, 5)

    @property
    def z_range_nm(self) -> tuple[float, float]:
        """Lowest and highest z."""
        return self.base.z_range_nm

    def at(self, u: float, v: float) -> Pupil | DoubleHelix | Tetrapod:
        """Give the PSF at one place of the field, u and v from -1 to 1."""
        terms = (1.0, u, v, u * u, u * v, v * v)
        total = dict(self.base.zernike_nm)
        for index, coefficients in self.zernike_field_nm.items():
            added = sum(c * t for c, t in zip(coefficients, terms, strict=False))
            total[index] = total.get(index, 0.0) + added
        return self.base.replace(zernike_nm=total)


PSF = Annotated[
    Gaussian | Astigmatic | Pupil | DoubleHelix | Tetrapod | Spline | FieldDependent, Field(discriminator="kind")
]
"""Any description of a PSF; `kind` says which."""

KINDS: Final[
    dict[
        str,
        type[Gaussian]
        | type[Astigmatic]
        | type[Pupil]
        | type[DoubleHelix]
        | type[Tetrapod]
        | type[Spline]
        | type[FieldDependent],
    ]
] = {
    "gaussian": Gaussian,
    "astigmatic": Astigmatic,
    "pupil": Pupil,
    "double_helix": DoubleHelix,
    "tetrapod": Tetrapod,
    "spline": Spline,
    "field_dependent": FieldDependent,
}
