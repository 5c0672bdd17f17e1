"""From a scene to its truth: epitopes and structures, dyes, events, emitters."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lucule.core import InputError
from lucule.simulate.chain import Dyes, Emitters, Epitopes, Events, Truth, stack
from lucule.simulate.labelling import label, unspecific
from lucule.simulate.outlines import Cell
from lucule.simulate.photophysics import blink, collect
from lucule.simulate.placement import does_not_fit, place_at_random
from lucule.simulate.scene import FieldOfView, Layer, Placement, Scene
from lucule.simulate.specimens.base import Drawn, FieldSpecimen, Hollow, ObjectSpecimen, Outline, Rectangle, Space
from lucule.simulate.streams import key, stream

RESTARTS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One field of a scene before it is labelled.

    Attributes
    ----------
    scene, seed
        What it was drawn from.
    epitopes
        Where labels can bind.
    structures
        One row per structure: `structure` (id), `layer`, `kind`, `label`, `object`, x, y, z (centre, nm), `angle_deg`,
        `epitopes` (their number) and what is known about its kind (`line_distance_nm`, `mean_spacing_nm`, ...).
    shapes
        Outlines that wide-field images show: `field`, and `cell`, `nucleus`, `cytoplasm` where there are such.
    """

    scene: Scene
    seed: int
    epitopes: Epitopes
    structures: pl.DataFrame
    shapes: dict[str, Outline]


def draw_sample(scene: Scene, *, seed: int) -> Sample:
    """Draw the epitopes of one field; the same seed gives the same bits, and layers do not depend on one another.

    Raises
    ------
    InputError
        Structures do not fit into the field.

    Examples
    --------
    >>> from lucule.simulate.scene import load_scene
    >>> sample = draw_sample(load_scene("origami"), seed=1)
    >>> len(sample.epitopes) == sample.structures["epitopes"].sum()
    True
    """
    shapes = field_shapes(scene.field, seed=seed)
    half = scene.field.axial_range_nm / 2
    epitopes, tables, first = [], [], 0
    for number, (name, layer) in enumerate(scene.layers.items()):
        rng = stream(seed, "specimen", name)
        outline = shapes[layer.within or ("cell" if scene.field.outline == "cell" else "field")]
        if isinstance(layer.specimen, FieldSpecimen):
            drawn = layer.specimen.fill(rng, Space(outline, (-half, half)))
        else:
            drawn = _placed(rng, layer.specimen, layer.placement, outline, shapes["field"])
        found, structures = _as_tables(drawn, layer, name, number, first)
        first += len(structures)
        epitopes.append(found)
        tables.append(structures)
    everything = Epitopes(stack(epitopes))
    if scene.noise_clearance_nm > 0:
        kept = _clear(everything.data, everything.data, scene.noise_clearance_nm)
        everything = Epitopes(everything.data.filter(kept))
    structures = pl.concat(tables, how="diagonal")
    owners = everything["structure"]
    counts = np.bincount(owners[owners >= 0], minlength=len(structures)).astype(np.int32)
    leading = ["structure", "layer", "kind", "label", "object", "x", "y", "z", "angle_deg", "epitopes"]
    structures = structures.with_columns(epitopes=counts)
    rest = [column for column in structures.columns if column not in leading]
    return Sample(scene, seed, everything, structures.select(*leading, *rest), shapes)


def field_shapes(field: FieldOfView, *, seed: int) -> dict[str, Outline]:
    """Outlines of a field: `field`, and `cell`, `nucleus`, `cytoplasm` where it has them."""
    width, height = field.size_um[0] * 1000, field.size_um[1] * 1000
    shapes: dict[str, Outline] = {"field": Rectangle((0.0, 0.0), (width, height))}
    if field.outline == "cell":
        rng = stream(seed, "outline")
        low, high = field.cell_radius_um
        cell = Cell.draw(rng, centre_nm=(width / 2, height / 2), radius_nm=(low * 1000, high * 1000))
        shapes["cell"] = cell
        if field.nucleus_radius_um is not None:
            low, high = field.nucleus_radius_um
            nucleus = Cell.draw(rng, centre_nm=(width / 2, height / 2), radius_nm=(low * 1000, high * 1000))
            shapes |= {"nucleus": nucleus, "cytoplasm": Hollow(cell, nucleus)}
    return shapes


def label_sample(sample: Sample) -> Dyes:
    """Bind dyes to the epitopes of a sample, layer by layer, and add unspecific labels (label 0)."""
    scene, seed = sample.scene, sample.seed
    half = scene.field.axial_range_nm / 2
    x0, y0, x1, y1 = sample.shapes["field"].bounds_nm
    data = sample.epitopes.data.with_row_index("id")
    labelled = []
    # unspecific labels of the scene's own labelling come once, with the first layer that uses it
    shared = next((name for name, layer in scene.layers.items() if layer.labelling is None), None)
    for number, (name, layer) in enumerate(scene.layers.items()):
        own = data.filter(pl.col("layer") == number)
        labelling = layer.labelling or scene.labelling
        bound = label(Epitopes(own.drop("id")), labelling, seed=seed, stream_name=f"labelling {name}")
        ids = own["id"].cast(pl.Int32)
        labelled.append(Dyes(bound.data.with_columns(epitope=ids[bound.data["epitope"]])))
        if layer.labelling is not None or name == shared:
            size, stream_name = (x1 - x0, y1 - y0), f"unspecific {name}"
            labelled.append(
                unspecific(
                    labelling, size_nm=size, z_nm=(-half, half), seed=seed, layer=number, stream_name=stream_name
                )
            )
    dyes = Dyes(stack(labelled))
    if scene.noise_clearance_nm > 0:
        free = dyes["epitope"] < 0
        kept = ~free
        kept[free] = _clear(dyes.data.filter(free), sample.epitopes.data, scene.noise_clearance_nm)
        dyes = Dyes(dyes.data.filter(kept))
    return dyes


def blink_sample(dyes: Dyes, scene: Scene, *, seed: int) -> Events:
    """Draw the ON periods of all dyes during the acquisition, each with the photophysics of its layer."""
    found = []
    of_layer = dyes["layer"]
    for number, (name, layer) in enumerate(scene.layers.items()):
        rows = np.flatnonzero(of_layer == number).astype(np.int32)
        own_seed = int(key(seed, "blinking", name))
        events = blink(len(rows), layer.dye or scene.dye, duration_s=scene.acquisition.duration_s, seed=own_seed)
        found.append(events.data.with_columns(molecule=rows[events["molecule"]]))
    if len(found) == 1:
        return Events(found[0])
    return Events(pl.concat(found).sort("molecule", maintain_order=True))


def simulate_truth(scene: Scene, *, seed: int) -> Truth:
    """Run the whole chain: specimen, labelling, photophysics, camera frames.

    Examples
    --------
    >>> from lucule.simulate.scene import load_scene
    >>> truth = simulate_truth(load_scene("origami", frames=100), seed=1)
    >>> bool((truth.traced()["structure"] >= 0).all())
    True
    """
    sample = draw_sample(scene, seed=seed)
    dyes = label_sample(sample)
    events = blink_sample(dyes, scene, seed=seed)
    emitters = record(events, dyes, scene)
    return Truth(sample.structures, sample.epitopes, dyes, events, emitters)


def record(events: Events, dyes: Dyes, scene: Scene, *, first_frame: int = 0, frames: int | None = None) -> Emitters:
    """Collect the photons of all or some of the frames of a scene's acquisition."""
    times = scene.acquisition
    count = times.frames - first_frame if frames is None else frames
    return collect(
        events, dyes, frames=count, interval_s=times.interval_s, exposure_s=times.exposure_s, first_frame=first_frame
    )


def _placed(
    rng: np.random.Generator, specimen: ObjectSpecimen, asked: Placement | None, outline: Outline, field: Outline
) -> Drawn:
    """Draw the objects of a layer and put them into the field."""
    placement = asked or Placement(positions_nm=(_middle(field),))
    n, places = _number(placement, outline, field)
    drawn = specimen.objects(rng, max(n, 1))
    if n == 0:
        nothing = drawn.kept(np.zeros(len(drawn.xyz), np.bool_))
        return replace(nothing, truth=drawn.truth.clear())
    z = placement.z_nm.draw(rng, n)
    if places is not None:
        z = places[:, 2] if places.shape[1] == 3 else z
        angles = np.radians(placement.angles_deg) if placement.angles_deg is not None else np.zeros(n)
        if placement.rotate:
            angles = angles + rng.uniform(0, 2 * np.pi, n)
        return _moved(drawn, places[:, :2], z, angles)
    turn = placement.rotate is not False
    if placement.overlap:
        angles = rng.uniform(0, 2 * np.pi, n) if turn else np.zeros(n)
        return _moved(drawn, outline.uniform(rng, n), z, angles)
    most = 0
    for _ in range(RESTARTS):
        xy, angles, fitting = place_at_random(rng, outline, drawn.circles, n, gap_nm=placement.gap_nm, turn=turn)
        if fitting == n:
            return _moved(drawn, xy, z, angles)
        most = max(most, fitting)
    raise does_not_fit(n, most, outline.area_um2, drawn.circles)


def _middle(field: Outline) -> tuple[float, float]:
    x0, y0, x1, y1 = field.bounds_nm
    return (x0 + x1) / 2, (y0 + y1) / 2


def _number(placement: Placement, outline: Outline, field: Outline) -> tuple[int, NDArray[np.float64] | None]:
    """How many objects there are, and where if that is given."""
    if placement.positions_nm is not None:
        widths = {len(position) for position in placement.positions_nm}
        if len(widths) > 1:
            raise InputError("positions_nm must be all (x, y) or all (x, y, z)")
        return len(placement.positions_nm), np.array(placement.positions_nm, dtype=np.float64)
    if placement.grid is not None and placement.grid_spacing_nm is not None:
        rows, columns = placement.grid
        row, column = np.divmod(np.arange(rows * columns), columns)
        offset = np.column_stack([column - (columns - 1) / 2, row - (rows - 1) / 2]) * placement.grid_spacing_nm
        x0, y0, x1, y1 = field.bounds_nm
        if (np.abs(offset) > [(x1 - x0) / 2, (y1 - y0) / 2]).any():
            raise InputError(
                "The grid does not fit into the field",
                received=f"{rows} x {columns} at {placement.grid_spacing_nm:g} nm",
                allowed=f"{x1 - x0:g} x {y1 - y0:g} nm",
            )
        return rows * columns, offset + _middle(field)
    if placement.density_per_um2 is not None:
        return round(placement.density_per_um2 * outline.area_um2), None
    return placement.count or 0, None


def _moved(drawn: Drawn, xy: NDArray[np.float64], z: NDArray[np.float64], angles: NDArray[np.float64]) -> Drawn:
    """Objects turned in the plane and put to their places."""
    owner = drawn.truth["object"].to_numpy()
    of = owner[drawn.structure]
    points = _turned(drawn.xyz, angles[of]) + np.column_stack([xy, z])[of]
    normal = None if drawn.normal is None else _turned(drawn.normal, angles[of])
    centre = drawn.truth.select("x", "y", "z").to_numpy()
    centre = _turned(centre, angles[owner]) + np.column_stack([xy, z])[owner]
    heading = (drawn.truth["angle_deg"].to_numpy() + np.degrees(angles[owner]) + 180) % 360 - 180
    truth = drawn.truth.with_columns(x=centre[:, 0], y=centre[:, 1], z=centre[:, 2], angle_deg=heading)
    return Drawn(points, drawn.structure, truth, normal, drawn.part, drawn.circles)


def _turned(vectors: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    c, s = np.cos(angles), np.sin(angles)
    x, y, z = vectors.T
    return np.column_stack([c * x - s * y, s * x + c * y, z])


def _as_tables(drawn: Drawn, layer: Layer, name: str, number: int, first: int) -> tuple[Epitopes, pl.DataFrame]:
    """Epitopes and structures of a layer, with ids that go on from `first`."""
    n = len(drawn.xyz)
    owned = drawn.structure >= 0
    columns = {axis: drawn.xyz[:, i] for i, axis in enumerate("xyz")}
    columns |= {
        "structure": np.where(owned, drawn.structure + first, -1).astype(np.int32),
        "label": np.where(owned, layer.label, 0).astype(np.uint8),
        "layer": np.full(n, number, np.uint8),
        "part": np.full(n, -1, np.int32) if drawn.part is None else drawn.part.astype(np.int32),
    }
    if drawn.normal is not None:
        columns |= {axis: drawn.normal[:, i] for i, axis in enumerate(("nx", "ny", "nz"))}
    structures = drawn.truth.with_columns(
        pl.Series("structure", np.arange(first, first + len(drawn.truth)), dtype=pl.Int32),
        pl.lit(name).alias("layer"),
        pl.lit(layer.specimen.kind).alias("kind"),
        pl.lit(layer.label, dtype=pl.UInt8).alias("label"),
        pl.col("object").cast(pl.Int32),
    )
    return Epitopes(pl.DataFrame(columns)), structures


def _clear(rows: pl.DataFrame, epitopes: pl.DataFrame, clearance_nm: float) -> NDArray[np.bool_]:
    """Which rows are no background or lie far enough, in the plane, from all epitopes of structures."""
    kept = (rows["label"] > 0).to_numpy().copy()
    background = ~kept
    structures = epitopes.filter(pl.col("label") > 0).select("x", "y").to_numpy()
    if not len(structures):
        kept[:] = True
        return kept
    points = rows.filter(background).select("x", "y").to_numpy()
    distance, _ = cKDTree(structures).query(points, distance_upper_bound=clearance_nm)
    kept[background] = np.isinf(distance)
    return kept
