"""What a person drew on an image: label images, masks, ImageJ ROIs, GeoJSON or sparse strokes, of some classes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from lucule.core import InputError
from lucule.io import regions
from lucule.segment.images import ENDINGS, open_image

Kind = Literal["auto", "labels", "mask", "classes", "strokes"]
Shape: TypeAlias = tuple[int, int]

IGNORE: Final = 255
"""Class of pixels that nothing is said about."""
DEFAULT_CLASS: Final = "object"
BACKGROUND: Final = "background"
OUTLINES: Final = (".zip", ".roi", ".geojson", ".json")
_STROKE_PX: Final = 3
# what programs append to the name of an image when they save its annotation
_FILLERS: Final = {
    "label",
    "labels",
    "mask",
    "masks",
    "roi",
    "rois",
    "annotation",
    "annotations",
    "seg",
    "gt",
}


@dataclass(frozen=True, eq=False)
class Annotation:
    """What is known of each pixel of an image.

    Attributes
    ----------
    classes
        `(rows, columns)` uint8: 0 background, 1 first class, ..., `IGNORE` unknown.
    objects
        `(rows, columns)` int32: number of the object, 0 none.
    names
        Names of the classes from 1 on.
    apart
        Whether `objects` tells touching objects apart; strokes do not.
    """

    classes: NDArray[np.uint8]
    objects: NDArray[np.int32]
    names: tuple[str, ...] = (DEFAULT_CLASS,)
    apart: bool = True

    @property
    def count(self) -> int:
        """Number of objects."""
        return len(np.unique(self.objects[self.objects > 0]))

    def only(self, numbers: Sequence[int]) -> Annotation:
        """Forget all objects but these: what they covered, and a rim around it, becomes unknown."""
        from scipy.ndimage import binary_dilation

        kept = np.isin(self.objects, list(numbers))
        gone = binary_dilation((self.objects > 0) & ~kept, iterations=2) & ~kept
        classes = np.where(gone, np.uint8(IGNORE), self.classes)
        return Annotation(classes, np.where(kept, self.objects, 0).astype(np.int32), self.names, self.apart)

    def around_objects(self, margin_px: int) -> Annotation:
        """Where not everything was annotated: forget the background that is farther from an object than `margin_px`."""
        from scipy.ndimage import distance_transform_edt

        known = distance_transform_edt(self.classes % IGNORE == 0) <= margin_px
        classes = np.where((self.classes == 0) & ~known, np.uint8(IGNORE), self.classes)
        return Annotation(classes, self.objects, self.names, self.apart)


def from_array(
    array: Any, *, kind: Kind = "auto", names: Sequence[str] = (DEFAULT_CLASS,), what: str = "annotation"
) -> Annotation:
    """Take an array of whole numbers as annotation.

    Parameters
    ----------
    array
        `(rows, columns)`, 0 outside of objects.
    kind
        `labels`: one number for each object. `mask`: any number inside, objects are connected parts. `classes`: the
        number is the class, objects are connected parts. `strokes`: 0 unknown, 1 background, 2 first class, ...
        `auto`: a mask when there is one number besides 0, labels otherwise.
    names
        Names of the classes.

    Raises
    ------
    InputError
        Nothing is annotated, the numbers do not fit, or there is no such kind.

    Examples
    --------
    >>> found = from_array(np.array([[0, 7, 0], [0, 0, 0], [7, 7, 0]]))
    >>> found.count, found.classes.tolist()
    (2, [[0, 1, 0], [0, 0, 0], [1, 1, 0]])
    """
    if kind not in get_args(Kind):
        raise InputError("There is no such kind of annotation", received=kind, allowed=", ".join(get_args(Kind)))
    values = np.asarray(array)
    if values.ndim != 2:
        raise InputError(f"{what} is no annotation", received=f"shape {values.shape}", allowed="(rows, columns)")
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.round(values)).all()):
        raise InputError(f"{what} is no annotation", received="fractions or NaN", allowed="whole numbers")
    values = values.astype(np.int64)
    if not values.any() or (values < 0).any():
        raise InputError(f"{what} has no annotated object", received=f"numbers {values.min()} to {values.max()}",
                         allowed="numbers above 0 inside of objects")  # fmt: skip
    if kind == "auto":
        kind = "mask" if len(np.unique(values[values > 0])) == 1 else "labels"
    if kind == "labels":
        return Annotation((values > 0).astype(np.uint8), _numbered(values), tuple(names))
    if kind == "mask":
        classes = (values > 0).astype(np.uint8)
        return Annotation(classes, _parts(classes), tuple(names))
    highest = int(values.max()) - (kind == "strokes")
    known = _enough(tuple(names), highest, what)
    if kind == "classes":
        classes = values.astype(np.uint8)
        return Annotation(classes, _parts(classes), known)
    classes = np.where(values == 0, IGNORE, values - 1).astype(np.uint8)
    _check_strokes(classes, what)
    return Annotation(classes, np.zeros(values.shape, np.int32), known, apart=False)


def combine(annotations: Mapping[str, Annotation]) -> Annotation:
    """Lay annotations of single classes over one another; where several say something, the last one counts.

    Examples
    --------
    >>> cell = from_array(np.array([[1, 1, 0]]))
    >>> node = from_array(np.array([[0, 1, 0]]))
    >>> both = combine({"cell": cell, "node": node})
    >>> both.names, both.classes.tolist()
    (('cell', 'node'), [[1, 2, 0]])
    """
    names = tuple(annotations)
    parts = list(annotations.values())
    classes, objects = np.zeros_like(parts[0].classes), np.zeros_like(parts[0].objects)
    for number, part in enumerate(parts, start=1):
        classes[part.classes == IGNORE] = IGNORE
        inside = (part.classes > 0) & (part.classes != IGNORE)
        classes[inside] = number
        objects[inside] = np.where(part.objects > 0, part.objects + objects.max(initial=0), 0)[inside]
    return Annotation(classes, objects, names, all(part.apart for part in parts))


def read(
    path: str | os.PathLike[str],
    shape: Shape,
    *,
    kind: Kind = "auto",
    names: Sequence[str] = (),
    pixel_size_nm: float | None = None,
) -> Annotation:
    """Read the annotation of an image of `shape` (rows, columns) from a file.

    Parameters
    ----------
    path
        An image whose numbers mean what `kind` says; ImageJ ROIs (`.roi`, `.zip`), also with lines as strokes; GeoJSON,
        as QuPath and lucule write it (pixels of the image, where it states no unit).
    names
        Names of the classes. In files with outlines, the class of an outline is the one that its name (ImageJ) or its
        classification (QuPath) says; where that names no class, it is the first one.
    pixel_size_nm
        Needed for GeoJSON in nm or um only.

    Raises
    ------
    InputError
        The annotation has another shape than the image, or annotates nothing.
    FormatError
        The file cannot be read.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError("There is no such annotation", received=file, allowed=", ".join((*OUTLINES, *ENDINGS)))
    if file.suffix.lower() in (".zip", ".roi"):
        return _drawn(regions.read_imagej(file), shape, tuple(names), file.name)
    if file.suffix.lower() in (".geojson", ".json"):
        return _geojson(file, shape, tuple(names), pixel_size_nm)
    values = _numbers(file)
    if values.shape != tuple(shape):
        raise InputError(
            f"{file.name} does not fit its image", received=f"{values.shape} pixels", allowed=f"{tuple(shape)} pixels"
        )
    return from_array(values, kind=kind, names=tuple(names) or (DEFAULT_CLASS,), what=file.name)


def pairs(images: Sequence[Path], files: Sequence[Path]) -> list[tuple[Path, dict[str, Path]]]:
    """Find the annotations of each image by their names, those of several classes by what follows the image's name.

    Images without any annotation are left out.

    Examples
    --------
    >>> drawn = [Path("m/a_labels.tif"), Path("m/b_cell.zip"), Path("m/b_node.zip")]
    >>> found = pairs([Path("a.tif"), Path("b.tif")], drawn)
    >>> [(image.name, list(parts)) for image, parts in found]
    [('a.tif', ['']), ('b.tif', ['cell', 'node'])]

    Raises
    ------
    InputError
        No image has an annotation, or one has two of the same class.
    """
    # the longest name that fits: cell_10 belongs to cell_1 only where there is no image cell_10
    owners: dict[Path, dict[str, Path]] = {image: {} for image in images}
    for file in sorted(files):
        fitting = [image for image in images if re.match(rf"{re.escape(image.stem)}($|[_\-. ])", file.stem)]
        if not fitting or file in images:
            continue
        image = max(fitting, key=lambda path: len(path.stem))
        words = [word for word in re.split(r"[_\-. ]", file.stem[len(image.stem) :]) if word]
        name = " ".join(word for word in words if word.lower() not in _FILLERS)
        if name in owners[image]:
            raise InputError(
                f"{image.name} has two annotations" + (f" of class {name}" if name else ""),
                received=f"{owners[image][name].name}, {file.name}",
            )
        owners[image][name] = file
    found = [(image, parts) for image, parts in owners.items() if parts]
    if not found:
        raise InputError(
            "No image has an annotation",
            received=f"{len(images)} images, {len(files)} annotations",
            allowed="files that begin with the name of the image, such as a.tif and a_labels.tif",
        )
    return found


def _parts(classes: NDArray[np.uint8]) -> NDArray[np.int32]:
    from skimage.measure import label

    parts: NDArray[np.int32] = label(classes, background=0, connectivity=1).astype(np.int32)
    return parts


def _numbered(values: NDArray[np.int64]) -> NDArray[np.int32]:
    """Numbers from 1 on; parts of one number that do not touch stay one object."""
    unique, places = np.unique(values, return_inverse=True)
    return np.asarray(places.reshape(values.shape) + (unique[0] != 0), np.int32)


def _enough(names: tuple[str, ...], highest: int, what: str) -> tuple[str, ...]:
    if highest >= IGNORE or (names not in ((), (DEFAULT_CLASS,)) and highest > len(names)):
        raise InputError(
            f"{what} has more classes than are named", received=f"{highest} classes", allowed=", ".join(names)
        )
    if len(names) >= highest:
        return names
    return tuple(f"class {number}" for number in range(1, highest + 1))


def _check_strokes(classes: NDArray[np.uint8], what: str) -> None:
    if not (classes == 0).any() or not ((classes > 0) & (classes < IGNORE)).any():
        raise InputError(
            f"The strokes of {what} do not say enough", allowed="at least one on the background and one on an object"
        )


def _numbers(path: Path) -> NDArray[Any]:
    from PIL import Image as Pillow

    if path.suffix.lower() in (".png", ".gif", ".bmp"):
        with Pillow.open(path) as picture:
            if picture.mode == "P":  # here the numbers of the palette are the annotation
                return np.asarray(picture)
    with open_image(path) as image:
        values = image.whole()
    if len(values) > 1 and not all((values[0] == other).all() for other in values[1:]):
        raise InputError(f"{path.name} is a colour image, not an annotation", allowed="one number per pixel")
    numbers: NDArray[Any] = values[0]
    return numbers


# -- outlines


def _drawn(shapes: Sequence[tuple[str, Any]], shape: Shape, names: tuple[str, ...], what: str) -> Annotation:
    """Fill shapely polygons (in pixels); lines and points are strokes."""
    from lucule.segment.outlines import fill

    lines = [(name, geometry) for name, geometry in shapes if geometry.area == 0]
    classes = np.full(shape, IGNORE if lines else 0, np.uint8)
    objects = np.zeros(shape, np.int32)
    known = names or _named(shapes)
    number = 0
    for name, geometry in shapes:
        area = geometry.buffer(_STROKE_PX / 2) if geometry.area == 0 else geometry
        rows, columns = fill(area, shape)
        which = _class_of(name, known)
        classes[rows, columns] = which
        if geometry.area > 0 and which > 0 and len(rows):
            number += 1
            objects[rows, columns] = number
    if lines:
        _check_strokes(classes, what)
    elif not number:
        raise InputError(f"{what} has no annotated object", allowed="outlines within the image")
    return Annotation(classes, objects, known, apart=not lines)


def _class_of(name: str, known: tuple[str, ...]) -> int:
    words = name.lower()
    if words.startswith(BACKGROUND):
        return 0
    fitting = [i for i, other in enumerate(known, start=1) if re.match(rf"{re.escape(other.lower())}\b", words)]
    return fitting[0] if fitting else 1


def _named(shapes: Sequence[tuple[str, Any]]) -> tuple[str, ...]:
    """Classes that the names of outlines state: names without digits, such as `cell`, not ImageJ's 0012-0345."""
    stems = dict.fromkeys(re.sub(r"[\s_\-(]*\d*\)?$", "", name).strip().lower() for name, _ in shapes)
    stated = [stem for stem in stems if stem and not any(c.isdigit() for c in stem) and not stem.startswith(BACKGROUND)]
    return tuple(stated) or (DEFAULT_CLASS,)


def _geojson(path: Path, shape: Shape, names: tuple[str, ...], pixel_size_nm: float | None) -> Annotation:
    import shapely

    found = regions.read_named(path, pixel_size_nm=1.0)
    document = json.loads(path.read_text(encoding="utf-8-sig"))
    features = document.get("features", [document])
    units = {(feature.get("properties") or {}).get("unit") or document.get("unit") for feature in features}
    scale = 1.0
    if units - {None, "px", "pixel"}:
        if pixel_size_nm is None:
            raise InputError(f"{path.name} is in {units.pop()}, its image in pixels", next_step="add the pixel size")
        scale = 1 / pixel_size_nm
    stated = [_classification(feature.get("properties") or {}) for feature in features]
    shapes = [
        (word or name, shapely.transform(region.shape, lambda xy: xy * scale))
        for word, (name, region) in zip(stated, found.items(), strict=True)
    ]
    return _drawn(shapes, shape, names, path.name)


def _classification(properties: Mapping[str, Any]) -> str | None:
    given = properties.get("classification") or properties.get("class")
    name = given.get("name") if isinstance(given, Mapping) else given
    return str(name) if name else None
