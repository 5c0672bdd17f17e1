"""Camera movies that are rendered where one looks, with the truth beside them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from numpy.typing import NDArray

from lucule.core import SILENT, FormatError, InputError, Progress, package_version
from lucule.core.config import dump_yaml
from lucule.core.files import atomic_path
from lucule.simulate import zarr_out
from lucule.simulate.camera import expose
from lucule.simulate.chain import Truth
from lucule.simulate.imaging import CameraLike, Imaging, Outside, PSFLike, prepare, seen_truth
from lucule.simulate.optics import add_emitters
from lucule.simulate.scene import Scene, load_scene
from lucule.simulate.truth_files import save_truth

# what is rendered at once: some tens of MB
_BLOCK_PIXELS: Final = 8_000_000
_CLASSIC_TIFF_MAX: Final = 2**32 - 2**26
ENDINGS: Final = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".ome.zarr", ".zarr")


class Movie:
    """A movie `(frames, rows, columns)`, uint16, that exists only where it is looked at.

    Indexing as with numpy renders just the frames that are asked for. A frame is the same bits however it is reached:
    alone, in a slice or in a file.

    Attributes
    ----------
    imaging
        Optics, camera, background and drift.
    truth
        The chain of truth; its emitters are those in the movie.
    """

    dtype = np.dtype(np.uint16)
    ndim = 3

    def __init__(self, imaging: Imaging, truth: Truth) -> None:
        self.imaging = imaging
        self.truth = truth
        emitters = truth.emitters
        self._columns = [emitters[name] for name in ("frame", "x", "y", "z", "photons")]
        self._starts = emitters.frame_starts(len(self))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, rows, columns."""
        return (self.imaging.scene.acquisition.frames, *self.imaging.shape)

    @property
    def nbytes(self) -> int:
        """Size of the whole movie, bytes."""
        return int(np.prod(self.shape)) * 2

    def __len__(self) -> int:
        return self.imaging.scene.acquisition.frames

    def __repr__(self) -> str:
        frames, rows, columns = self.shape
        emitters = len(self.truth.emitters) / frames
        return f"Movie({frames:,} frames, {rows} x {columns} px, {emitters:.3g} emitters per frame)"

    def __getitem__(self, index: Any) -> NDArray[np.uint16]:
        """Render the frames that `index` names; further indices choose rows and columns."""
        first, rest = (index[0], index[1:]) if isinstance(index, tuple) and index else (index, ())
        if first is Ellipsis or first is None:
            whole: NDArray[np.uint16] = self._render(np.arange(len(self)))[index]
            return whole
        numbers = np.arange(len(self))[first]
        frames = self._render(np.atleast_1d(numbers))
        if np.ndim(numbers) == 0:
            frame: NDArray[np.uint16] = frames[0][rest] if rest else frames[0]
            return frame
        return frames[(slice(None), *rest)] if rest else frames

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a movie that is rendered cannot be given without a copy")
        return self[:].astype(dtype or self.dtype, copy=False)

    def __iter__(self) -> Iterator[NDArray[np.uint16]]:
        for _, block in self.chunks():
            yield from block

    def chunks(self, frames: int | None = None) -> Iterator[tuple[int, NDArray[np.uint16]]]:
        """Go through the movie in blocks: number of the first frame, and the block."""
        if frames is not None and frames < 1:
            raise InputError("A block needs frames", received=frames, allowed="1 or more")
        size = frames or self._block
        for first in range(0, len(self), size):
            yield first, self._expose(first, min(size, len(self) - first))

    def expected(self, first: int, frames: int = 1) -> NDArray[np.float32]:
        """Expected photons on the sensor, without any noise, `(frames, rows, columns)`.

        Raises
        ------
        InputError
            The movie has no such frames.
        """
        if first < 0 or frames < 1 or first + frames > len(self):
            raise InputError(
                "There are no such frames", received=f"{first} to {first + frames - 1}", allowed=f"0 to {len(self) - 1}"
            )
        factors = self.imaging.background_factors(first, frames)
        light = factors[:, None, None] * self.imaging.background
        rows = slice(self._starts[first], self._starts[first + frames])
        frame, x, y, z, photons = (column[rows] for column in self._columns)
        add_emitters(light, frame, x, y, z, photons, self.imaging.kernel, first_frame=first)
        return light

    def save(self, path: str | os.PathLike[str], *, progress: Progress = SILENT) -> Path:
        """Write an OME-TIFF or OME-Zarr, piece by piece, and the truth into a folder `NAME.truth` beside it.

        The ending of the name decides. TIFF files beyond 4 GB are BigTIFF. Pixel size, exposure, camera, PSF and seed
        stand in the metadata. The movie appears under its name only when it is complete.

        Returns
        -------
        Path of the movie.

        Raises
        ------
        FormatError
            The name does not end in .ome.tif, .tif, .ome.zarr or .zarr.
        """
        target = Path(path)
        stem = movie_stem(target)
        save_truth(self.truth, target.with_name(f"{stem}.truth"), imaging=self.imaging)
        if target.suffix.lower() == ".zarr":
            return self._save_zarr(target, progress)
        with atomic_path(target) as temporary, progress.task("Movie", len(self), "frames") as task:
            big = self.nbytes > _CLASSIC_TIFF_MAX
            with tifffile.TiffWriter(temporary, bigtiff=big, ome=True) as writer:
                writer.write(
                    self._reported(task.advance),
                    shape=self.shape,
                    dtype=self.dtype,
                    photometric="minisblack",
                    metadata=self._ome(stem),
                )
        return target

    def _save_zarr(self, target: Path, progress: Progress) -> Path:
        with progress.task("Movie", len(self), "frames") as task:

            def blocks() -> Iterator[NDArray[np.uint16]]:
                for _, block in self.chunks(zarr_out.frames_per_chunk(self.shape)):
                    yield block
                    task.advance(len(block))

            return zarr_out.write_movie(
                target,
                blocks(),
                shape=self.shape,
                pixel_size_nm=self.imaging.camera.pixel_size_nm,
                interval_s=self.imaging.scene.acquisition.interval_s,
                notes=self._notes(),
            )

    def _reported(self, advance: Any) -> Iterator[NDArray[np.uint16]]:
        for _, block in self.chunks():
            for frame in block:
                yield frame
                advance(1)

    def _notes(self) -> dict[str, str]:
        """What a file says about the simulation."""
        times = self.imaging.scene.acquisition
        return {
            "software": f"lucule {package_version()}",
            "scene": self.imaging.scene.title,
            "seed": str(self.imaging.seed),
            "exposure_ms": f"{1000 * (times.exposure_s or times.interval_s):g}",
            "psf": dump_yaml(self.imaging.kernel.psf.model_dump(mode="json")),
            "camera": dump_yaml(self.imaging.camera.model_dump(mode="json")),
        }

    def _ome(self, name: str) -> dict[str, Any]:
        camera, times, notes = self.imaging.camera, self.imaging.scene.acquisition, self._notes()
        exposure = times.exposure_s or times.interval_s
        return {
            "axes": "TYX",
            "Name": name,
            # random by default, which would make two files of one movie differ
            "UUID": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, repr((notes, self.shape)))}",
            "PhysicalSizeX": camera.pixel_size_nm[0] / 1000,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": camera.pixel_size_nm[1] / 1000,
            "PhysicalSizeYUnit": "µm",
            "TimeIncrement": times.interval_s,
            "TimeIncrementUnit": "s",
            "Plane": {"ExposureTime": [exposure] * len(self), "ExposureTimeUnit": ["s"] * len(self)},
            "MapAnnotation": {"Namespace": "lucule/simulation", **notes},
        }

    @property
    def _block(self) -> int:
        return max(1, _BLOCK_PIXELS // (self.shape[1] * self.shape[2]))

    def _expose(self, first: int, frames: int) -> NDArray[np.uint16]:
        return expose(self.expected(first, frames), self.imaging.sensor, seed=self.imaging.seed, first_frame=first)

    def _render(self, numbers: NDArray[np.int64]) -> NDArray[np.uint16]:
        out = np.empty((len(numbers), *self.shape[1:]), np.uint16)
        cuts = np.flatnonzero(np.diff(numbers) != 1) + 1
        for start, stop in zip([0, *cuts], [*cuts, len(numbers)], strict=True):
            for at in range(start, stop, self._block):
                count = min(self._block, stop - at)
                out[at : at + count] = self._expose(int(numbers[at]), count)
        return out


def movie(
    scene: Scene | str | os.PathLike[str],
    *,
    camera: CameraLike = None,
    psf: PSFLike = None,
    frames: int | None = None,
    seed: int = 1,
    channel: int | None = None,
    outside: Outside = "error",
) -> tuple[Movie, Truth]:
    """Simulate a camera movie, rendered lazily; the same seed gives the same bits.

    Parameters
    ----------
    scene
        A scene, the name of a packaged one, or a YAML file.
    camera, psf
        Descriptions, names of packaged ones or YAML files; by default those of the scene, else an EMCCD and a Gaussian.
    frames
        Number of frames; by default that of the scene.
    seed
        Any whole number from 0.
    channel
        Colour channel that the camera sees; None: all light.
    outside
        What to do with emitters outside the depth range of the PSF: `error`, or `drop` them.

    Returns
    -------
    The movie `(frames, rows, columns)`, and its truth from structures to emitters.

    Raises
    ------
    InputError
        Unknown names, structures that do not fit into the field, or emitters outside the depth range of the PSF.

    Examples
    --------
    >>> movie_, truth = movie("origami", frames=50, seed=1)
    >>> movie_.shape
    (50, 100, 100)
    >>> bool((movie_[10:12][1] == movie_[11]).all())
    True
    """
    resolved = load_scene(scene) if frames is None else load_scene(scene, frames=frames)
    imaging = prepare(resolved, camera=camera, psf=psf, seed=seed)
    truth = seen_truth(imaging, channel=channel, outside=outside)
    return Movie(imaging, truth), truth


def movie_stem(path: Path) -> str:
    """Give the name of a movie file without its ending.

    Raises
    ------
    FormatError
        It is neither a TIFF nor a Zarr.
    """
    ending = next((end for end in ENDINGS if path.name.lower().endswith(end)), None)
    if ending is None:
        raise FormatError(
            "Movies are written as OME-TIFF or OME-Zarr",
            received=path.name,
            allowed="a name that ends in .ome.tif or .ome.zarr",
        )
    return path.name[: -len(ending)]
