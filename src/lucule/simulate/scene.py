"""Scenes: which specimens lie in a field, how they are labelled, with which dyes, and how the field is recorded."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from lucule.core import Camera, Config, InputError
from lucule.core.config import read_yaml
from lucule.simulate.dye import Dye
from lucule.simulate.labelling import Labelling
from lucule.simulate.optics.fields import Background, Illumination
from lucule.simulate.optics.motion import Motion
from lucule.simulate.specimens import FieldSpecimen, Specimen
from lucule.simulate.varied import NotNegativeVaried, Varied, constant

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

_SCENES: Final = resources.files("lucule.simulate") / "scenes"


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int | float) else value


Size = Annotated[
    tuple[Positive, Positive],
    BeforeValidator(_pair),
    PlainSerializer(lambda value: value[0] if value[0] == value[1] else list(value)),
]
"""Width and height; a single number means a square."""


class FieldOfView(Config):
    """The field in which specimens lie; x and y run from 0, z around 0.

    Attributes
    ----------
    size_um
        Width and height of the field, um.
    axial_range_nm
        Thickness of the sample, nm: z runs from minus half of it to plus half of it.
    outline
        `square`: the whole field. `cell`: a smooth closed outline with protrusions in the middle of the field.
    cell_radius_um, nucleus_radius_um
        Smallest and largest distance of the outlines of a cell and of its nucleus from the middle, um.
    """

    size_um: Size = (20.0, 20.0)
    axial_range_nm: NotNegative = 600.0
    outline: Literal["square", "cell"] = "square"
    cell_radius_um: tuple[Positive, Positive] = (10.0, 14.0)
    nucleus_radius_um: tuple[Positive, Positive] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name, radii in (("cell_radius_um", self.cell_radius_um), ("nucleus_radius_um", self.nucleus_radius_um)):
            if radii is not None and radii[0] > radii[1]:
                raise ValueError(f"{name}: smallest radius first, then the largest, um")
        if self.outline == "cell" and 2 * self.cell_radius_um[1] > min(self.size_um):
            raise ValueError(
                f"a cell of {2 * self.cell_radius_um[1]:g} um does not fit into a field of {min(self.size_um):g} um"
            )
        if self.nucleus_radius_um is not None and self.outline != "cell":
            raise ValueError("a nucleus needs outline: cell")
        if self.nucleus_radius_um is not None and self.nucleus_radius_um[1] >= self.cell_radius_um[0]:
            raise ValueError("the nucleus must be smaller than the cell everywhere")
        return self


class Placement(Config):
    """Where the objects of a layer lie: at random (`count` or `density_per_um2`), on a grid, or at given positions.

    Attributes
    ----------
    count, density_per_um2
        Number of objects, or their number for a um2.
    positions_nm
        (x, y) or (x, y, z) of every object, nm.
    angles_deg
        Orientation of every object at `positions_nm`, degrees from x towards y.
    grid
        Rows and columns of a grid in the middle of the field.
    grid_spacing_nm
        Distance between its rows and columns, nm.
    rotate
        Whether objects are turned at random in the plane; by default those at random places are.
    z_nm
        Height of the objects, nm.
    gap_nm
        Smallest distance between objects at random places, nm.
    overlap
        Whether objects at random places may overlap.
    """

    count: Annotated[int, Field(ge=0)] | None = None
    density_per_um2: NotNegative | None = None
    positions_nm: tuple[tuple[float, float] | tuple[float, float, float], ...] | None = None
    angles_deg: tuple[float, ...] | None = None
    grid: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    grid_spacing_nm: Positive | None = None
    rotate: bool | None = None
    z_nm: Varied = constant(0)
    gap_nm: NotNegative = 0.0
    overlap: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [self.count, self.density_per_um2, self.positions_nm, self.grid]
        if sum(way is not None for way in ways) != 1:
            raise ValueError("exactly one of count, density_per_um2, positions_nm and grid")
        if (self.grid is None) != (self.grid_spacing_nm is None):
            raise ValueError("grid and grid_spacing_nm go together")
        if self.angles_deg is not None and len(self.angles_deg) != len(self.positions_nm or ()):
            raise ValueError("angles_deg needs one angle for each of positions_nm")
        return self


class Layer(Config):
    """One kind of specimen in a scene.

    Attributes
    ----------
    specimen
        What is drawn.
    placement
        Where its objects lie; only for specimens that are objects, by default one in the middle.
    label
        Class of its epitopes; 0 is background. Epitopes in no structure are background in any case.
    within
        Part of the field that it is confined to; by default the cell where the field has one.
    labelling, dye
        Its own labelling and dye; None for those of the scene.
    channel
        Colour channel in which its dye is seen.
    """

    specimen: Specimen
    placement: Placement | None = None
    label: Annotated[int, Field(ge=0, le=255)] = 1
    within: Literal["field", "cell", "nucleus", "cytoplasm"] | None = None
    labelling: Labelling | None = None
    dye: Dye | None = None
    channel: Annotated[int, Field(ge=0, le=255)] = 0

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if isinstance(self.specimen, FieldSpecimen) and self.placement is not None:
            raise ValueError(f"a specimen of kind {self.specimen.kind} fills the field and takes no placement")
        return self


class Acquisition(Config):
    """How a field is recorded.

    Attributes
    ----------
    frames
        Number of camera frames.
    interval_s
        Time from one frame to the next, s.
    exposure_s
        Exposure of each frame, s; None for the whole interval.
    """

    frames: Annotated[int, Field(ge=1)] = 10_000
    interval_s: Positive = 0.02
    exposure_s: Positive | None = None

    @model_validator(mode="after")
    def _exposure_fits(self) -> Self:
        if self.exposure_s is not None and self.exposure_s > self.interval_s:
            raise ValueError(f"an exposure of {self.exposure_s:g} s is longer than the interval")
        return self

    @property
    def duration_s(self) -> float:
        """Length of the whole acquisition, s."""
        return self.frames * self.interval_s


class Objective(Config):
    """The objective: what pupil PSFs and diffraction-limited widths are computed from.

    Attributes
    ----------
    numerical_aperture, immersion_index, sample_index
        Numerical aperture, and refractive indices of immersion medium and sample.
    """

    numerical_aperture: Annotated[float, Field(gt=0, lt=2)] = 1.4
    immersion_index: Annotated[float, Field(ge=1, lt=2.5)] = 1.518
    sample_index: Annotated[float, Field(ge=1, lt=2.5)] = 1.33


def _some(layers: dict[str, Layer]) -> dict[str, Layer]:
    if not 1 <= len(layers) <= 255:
        raise ValueError("1 to 255 layers")
    return layers


class Scene(Config):
    """A field of view from specimen to acquisition; the optics and the camera are named, not resolved, here.

    Attributes
    ----------
    title, source
        What it shows, and where its numbers come from.
    field
        Size, depth and outline.
    layers
        Specimens by name.
    labelling, dye
        Labelling and dye of layers without their own; a dye is given by its settings or the name of a packaged one.
    noise_clearance_nm
        Background (label 0) nearer than this to a structure, in the plane, is left out, nm.
    acquisition
        Frames and times.
    objective, psf, camera
        For the later stages: the objective, a PSF and a camera (settings or the name of a packaged one).
    background_photons
        Photons per pixel and frame besides those of the dyes, mean over the field.
    background
        How this background is spread over the field and over time.
    illumination
        How strongly each place is illuminated: scales the photons of the dyes there, not their blinking.
    motion
        Drift and vibration of the sample.
    """

    title: str = ""
    source: str = ""
    field: FieldOfView = FieldOfView()
    layers: Annotated[dict[str, Layer], AfterValidator(_some)]
    labelling: Labelling = Labelling()
    dye: Dye = Field(default="af647", validate_default=True)
    noise_clearance_nm: NotNegative = 0.0
    acquisition: Acquisition = Acquisition()
    objective: Objective = Objective()
    psf: str | dict[str, Any] | None = None
    camera: Camera | str | None = None
    background_photons: NotNegativeVaried = constant(10)
    background: Background = Background()
    illumination: Illumination = Illumination()
    motion: Motion = Motion()

    @model_validator(mode="after")
    def _one_background(self) -> Self:
        if self.background.photons_per_pixel != Background().photons_per_pixel:
            raise ValueError("background_photons sets the mean of the background, not background.photons_per_pixel")
        return self

    @model_validator(mode="after")
    def _compartments(self) -> Self:
        for name, layer in self.layers.items():
            if layer.within in ("cell", "cytoplasm", "nucleus") and self.field.outline != "cell":
                raise ValueError(f"layer {name} lies in the {layer.within}, but the field has no cell (outline: cell)")
            if layer.within in ("cytoplasm", "nucleus") and self.field.nucleus_radius_um is None:
                raise ValueError(f"layer {name} needs field.nucleus_radius_um")
        return self

    def with_changes(self, **changes: Any) -> Scene:
        """A copy with some values changed.

        A key is a setting of the scene (`dye`), a path (`lines.specimen.tilt_deg` or `field.size_um`), or the name of
        a setting that the specimen or the placement of exactly one layer has (`line_distance_nm`). `frames` and other
        settings of the acquisition and of the field may be given directly, too. A number for `labelling` is the
        labelling efficiency of every layer that is no background.

        Raises
        ------
        InputError
            There is no such setting, several layers have it, or the value is not allowed.
        """
        values = self.model_dump(mode="python")
        for key, value in changes.items():
            self._check_used(key, value)
            if key == "labelling" and isinstance(value, int | float):
                for labelling in self._specific_labellings(values):
                    labelling["probability"] = value
                continue
            *parents, last = self._path(key)
            target = values
            for parent in parents:
                if target.get(parent) is None:
                    target[parent] = {}
                target = target[parent]
            target[last] = value
        return Scene.parse(values, source="changed scene")

    def _specific_labellings(self, values: dict[str, Any]) -> list[dict[str, Any]]:
        """Labellings, in dumped settings, that bind to structures rather than to background."""
        own = [layer["labelling"] for layer in values["layers"].values() if layer["labelling"] and layer["label"] > 0]
        return [values["labelling"], *own]

    def _check_used(self, key: str, value: Any) -> None:
        shared = key == "dye" or (key == "labelling" and not isinstance(value, int | float))
        if shared and all(getattr(layer, key) is not None for layer in self.layers.values()):
            raise InputError(
                f"Every layer of this scene has its own {key}",
                received=f"{key} for the whole scene",
                allowed=", ".join(f"{name}.{key}" for name in self.layers),
            )

    def _path(self, key: str) -> list[str]:
        path = key.split(".")
        if len(path) > 1:
            return ["layers", *path] if path[0] in self.layers else path
        for model, prefix in ((Scene, []), (Acquisition, ["acquisition"]), (FieldOfView, ["field"])):
            if key in model.model_fields:
                return [*prefix, key]
        owners = [["layers", name, "specimen", key] for name in self.layers if key in self._specimen_keys(name)]
        if not owners and key in Placement.model_fields:
            placed = [name for name, layer in self.layers.items() if not isinstance(layer.specimen, FieldSpecimen)]
            owners = [["layers", name, "placement", key] for name in placed]
        if len(owners) != 1:
            known = [".".join(owner[1:]) for owner in owners]
            raise InputError(
                "Several layers have this setting" if owners else "The scene has no such setting",
                received=key,
                allowed=", ".join(known) or self._settable(),
            )
        return owners[0]

    def _specimen_keys(self, layer: str) -> list[str]:
        return list(type(self.layers[layer].specimen).model_fields)

    def _settable(self) -> str:
        own = [f"{name}.specimen.{key}" for name in self.layers for key in self._specimen_keys(name)]
        return ", ".join([*Scene.model_fields, *own])


def scenes() -> list[str]:
    """Names of the packaged scenes.

    Examples
    --------
    >>> "sarcomere" in scenes()
    True
    """
    return sorted(file.name.removesuffix(".yaml") for file in _SCENES.iterdir() if file.name.endswith(".yaml"))


def packaged_name(address: str) -> str:
    """Turn `specimens/NAME.yaml` into NAME where there is no such file; any other text stays as it is.

    Packaged scenes can thus be named like files. A missing file in any other folder remains an error.

    Examples
    --------
    >>> packaged_name("specimens/sarcomere.yaml")
    'sarcomere'
    >>> packaged_name("mine/sarcomere.yaml")
    'mine/sarcomere.yaml'
    """
    path = Path(address)
    is_address = path.parent == Path("specimens") and path.suffix in (".yaml", ".yml")
    return path.stem if is_address and not path.exists() else address


def load_scene(scene: str | os.PathLike[str] | Scene, **changes: Any) -> Scene:
    """Give a scene by the name of a packaged one or from a YAML file, with some values changed.

    A packaged scene may also be named `specimens/NAME.yaml`. Paths of files inside a scene are relative to the folder
    of the scene.

    Raises
    ------
    InputError
        There is no such scene, or a value is not allowed; see `Scene.with_changes`.

    Examples
    --------
    >>> scene = load_scene("sarcomere", line_distance_nm=136, labelling=0.5)
    >>> str(scene.layers["double_lines"].specimen.line_distance_nm)
    '136.0'
    """
    if isinstance(scene, Scene):
        return scene.with_changes(**changes) if changes else scene
    name = packaged_name(str(scene))
    if name in scenes():
        with resources.as_file(_SCENES / f"{name}.yaml") as path:
            found = Scene.parse(read_yaml(path), source=f"scene {name}")
    elif name.endswith((".yaml", ".yml")):
        found = Scene.parse(_with_folder(read_yaml(name), Path(name).parent), source=name)
    else:
        raise InputError(
            "There is no such scene", received=name, allowed=f"{', '.join(scenes())}, or the path of a YAML file"
        )
    return found.with_changes(**changes) if changes else found


def _with_folder(values: Any, folder: Path) -> Any:
    """Make relative paths under the key `file` start at a folder."""
    if isinstance(values, dict):
        return {
            key: str(folder / value) if key == "file" and isinstance(value, str) else _with_folder(value, folder)
            for key, value in values.items()
        }
    return [_with_folder(value, folder) for value in values] if isinstance(values, list) else values
