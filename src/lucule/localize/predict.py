"""Movies to localizations with a trained network: blocks of frames, tiles with a halo, any size of field."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit
from torch import Tensor

from lucule.core import SILENT, Camera, InputError, Localizations, Meta, Progress, package_version, step
from lucule.core.ledger import fingerprint
from lucule.io.movies import Movie, MovieInfo, Roi, opened
from lucule.io.movies.info import ARRAY
from lucule.localize import background
from lucule.localize.blocks import Block, Keep, in_blocks
from lucule.localize.decode import Found, decode
from lucule.localize.laws import EVIDENCE, Emitters, Laws, persistence, probability, witnesses
from lucule.localize.network import MARGIN_PX, STRIDE, LocalizationNet, build
from lucule.localize.photons import to_photons
from lucule.localize.recipe import Recipe
from lucule.localize.refine import refine
from lucule.models import Card, find
from lucule.nn import choose_device
from lucule.simulate.camera import Sensor, sensor
from lucule.simulate.crlb import Noise, noise_of
from lucule.simulate.optics import Kernel

Precision = Literal["auto", "float32", "bfloat16"]
Floats: TypeAlias = NDArray[np.float64]

logger = logging.getLogger(__name__)

_TILE_PX: Final = 256
# frames of 64 x 64 pixels in a block; larger frames come in smaller blocks
_BLOCK: Final = 128
_FEWEST_FRAMES: Final = 16
# pixels that pass the network at once: as many as a processor's cache can hold the features of, or as keep a GPU busy
_AT_ONCE_PX: Final = {"cpu": 16 * 64 * 64, "cuda": 128 * 64 * 64}
# frames on each side that say where an emitter is, see `lucule.localize.refine`; and those whose emitters must be known
# for that, as they say what the background of these looks like
_REACH: Final = 2
_NEEDED: Final = _REACH + background.REACH
# what a block knows of its emitters, until the whole movie has been seen: log odds where no molecule is seen again, and
# where all are; whether it tells how long molecules are on; whether it is seen again
_UNTIL_THE_END: Final = ("once", "lasting", "sure", "again")


@dataclass(frozen=True, eq=False)
class Predictor:
    """A network ready for movies.

    Attributes
    ----------
    network
        In evaluation mode, on `device`.
    card
        What it was trained for.
    camera
        Camera of the movie.
    assumed
        Whether that is the camera of the training, for want of another.
    kernel
        PSF that it was trained for.
    refined
        Whether its places are refined on the frames.
    precision
        Type of its arithmetic.
    """

    network: LocalizationNet
    card: Card
    camera: Camera
    assumed: bool
    kernel: Kernel
    refined: bool
    device: torch.device
    precision: torch.dtype

    def __str__(self) -> str:
        """Name and weights, for the history of a table."""
        return f"{self.card.name}, weights {self.card.weights_sha256[:16]}"

    @property
    def z_scale_nm(self) -> float:
        """Unit of depth of the network."""
        return max(abs(float(z)) for z in self.card.features["z_range_nm"])

    @property
    def threshold(self) -> float:
        """Probability from which an emitter counts."""
        return float(self.card.features.get("threshold", 0.5))

    @property
    def laws(self) -> Laws:
        """What calibrates its errors and probabilities; without refinement there is no more evidence to weigh."""
        features = self.card.features
        evidence = features.get("evidence_law") if self.refined else None
        if evidence is not None and np.shape(evidence) != (3, EVIDENCE):
            raise InputError(
                "The model was calibrated for another version of lucule",
                received=f"weights of evidence of shape {np.shape(evidence)}",
                allowed=f"{(3, EVIDENCE)}",
                next_step="calibrate it anew: lucule.localize.calibrate.calibrate(folder)",
            )
        return Laws(
            features.get("sigma_law", [(0.0, 1.0, 0.0, 0.0)] * 4),
            features.get("p_law", (1.0, 0.0)),
            evidence,
        )


def load(
    model: str | os.PathLike[str],
    *,
    camera: Camera | None = None,
    refined: bool = True,
    device: str = "auto",
    precision: Precision = "auto",
) -> Predictor:
    """Load a network.

    Parameters
    ----------
    model
        Name of a packaged model, or a folder written by `train`.
    camera
        Camera of the movie; by default the one the network was trained for.
    refined
        Whether the frames themselves have a say in the places, see `lucule.localize.refine`.
    device
        `auto`, `cpu` or `cuda`.
    precision
        `auto` is bfloat16 where the processor multiplies it in hardware, else float32; the last layer is float32.

    Raises
    ------
    InputError
        There is no such model, it is none for localization, or the camera has other pixels.
    """
    packaged = find(model)
    if packaged.card.task != "localize":
        raise InputError("This model does not localize", received=f"{packaged.card.name}: {packaged.card.task}")
    place = choose_device(device)
    network = build(packaged.card.options)
    network.load_state_dict(packaged.state())
    recipe = Recipe.parse(packaged.card.recipe, source=f"recipe of {packaged.card.name}")
    used = camera or recipe.camera_used()
    wanted = packaged.card.features["pixel_size_nm"]
    if not np.allclose(used.pixel_size_nm, wanted, rtol=0.02):
        raise InputError(
            "The network was trained for other pixels",
            received=f"{used.pixel_size_nm} nm",
            allowed=f"{tuple(wanted)} nm",
            next_step="train a network with this camera and its PSF",
        )
    kind = _precision(place, precision)
    network = network.eval().to(place, memory_format=torch.channels_last).to(kind)
    return Predictor(network, packaged.card, used, camera is None, recipe.kernel(), refined, place, kind)


def _precision(device: torch.device, precision: Precision) -> torch.dtype:
    if precision != "auto":
        return torch.float32 if precision == "float32" else torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16
    # torch has no public question for this
    in_hardware = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return torch.bfloat16 if in_hardware else torch.float32


@step
def localize(
    movie: Movie | ArrayLike | str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | Predictor,
    camera: Camera | None = None,
    threshold: float | None = None,
    frames: tuple[int, int] | None = None,
    roi: Roi | None = None,
    keep: str | os.PathLike[str] | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Localizations:
    """Localize all frames of a movie.

    Parameters
    ----------
    movie
        Path of a movie in any format, an open `lucule.io.movies.Movie`, or counts `(frames, rows, columns)`: anything
        that gives frames when sliced.
    model
        Name or folder of a model, or a loaded one.
    camera
        Camera of the movie; by default the one the network was trained for.
    threshold
        Smallest probability of a localization; by default that of the model.
    frames
        First frame, and the one after the last; None: all. Frames beyond are not used as context either.
    roi
        First column, column after the last, first row, row after the last: only this region is localized. Positions
        are those of the whole frame.
    keep
        Folder in which finished blocks of frames are kept, so that the same call goes on after an interruption; it is
        yours to remove (`lucule.localize.blocks.remove_parts`). Only for movies in files.

    Returns
    -------
    Localizations
        frame, x, y, z, photons, background, x_err, y_err, z_err (predicted standard deviations), p, n_shared (frames
        that have a say in the place). What was noticed about the movie (empty and saturated frames, another camera)
        stands in `meta.vendor["notes"]` and is logged.

    Raises
    ------
    InputError
        The movie has no frames, holds values that are no numbers, there are no such frames or region, or the threshold
        is not between 0 and 1.
    """
    predictor = model if isinstance(model, Predictor) else load(model, camera=camera, device=device)
    limit = predictor.threshold if threshold is None else threshold
    if not 0 < limit < 1:
        raise InputError("The threshold must be a probability", received=threshold, allowed="between 0 and 1")
    used = predictor.camera
    with opened(movie, frames=frames, roi=roi) as source:
        count, rows, columns = source.shape
        pixels = sensor(used, source.info.shape[1:]).crop(source.window)
        identity = (str(predictor), used.model_dump(mode="json"), limit, predictor.refined, str(predictor.precision),
                    predictor.laws.of_sigma, predictor.laws.of_p, predictor.laws.of_evidence)  # fmt: skip
        table, seen = in_blocks(
            source,
            lambda block: _find(predictor, block, pixels, limit),
            size=_block(rows, columns),
            pixel_size_nm=used.pixel_size_nm,
            reach=predictor.network.context // 2 + _NEEDED,
            saturation=min(used.saturation, 2 ** (source.info.camera.bit_depth or 64) - 1),
            keep=keep and Keep(Path(keep), fingerprint(source.fingerprint(), identity, package_version())),
            progress=progress,
        )
        info = source.info
    table = _weighed(table, limit)
    notes = [*info.notes, *_assumption(predictor, info), *info.disagreements(used), *seen]
    for note in notes:
        logger.warning("%s", note)
    _warn(table, predictor.card, rows * columns * used.pixel_size_nm[0] * used.pixel_size_nm[1] / 1e6, count)
    meta = Meta(
        camera=used,
        pixel_size_nm=used.pixel_size_nm,
        shape_px=info.shape[1:],
        n_frames=info.shape[0],
        exposure_ms=info.exposure_ms,
        errors="predicted",
        vendor={"notes": notes} if notes else {},
    )
    return Localizations(table, meta)


def _assumption(predictor: Predictor, info: MovieInfo) -> list[str]:
    """Say what is taken for the camera of a movie in a file that does not tell it."""
    if not predictor.assumed or not info.unsaid or info.format == ARRAY:
        return []
    used = predictor.camera
    pixel = " x ".join(f"{size:g}" for size in dict.fromkeys(used.pixel_size_nm))
    return [
        f"The movie does not say everything about its camera ({', '.join(info.unsaid)} missing); that of the network "
        f"is assumed, {used.kind} with pixels of {pixel} nm. If it is another: --camera camera.yaml"
    ]


def _block(rows: int, columns: int) -> int:
    return max(_BLOCK * 64 * 64 // (min(rows, 2 * _TILE_PX) * min(columns, 2 * _TILE_PX)), _FEWEST_FRAMES)


def _find(predictor: Predictor, block: Block, pixels: Sensor, limit: float) -> pl.DataFrame:
    """Find the emitters of a block of frames; those of the frames around have a say in where they are."""
    threshold = predictor.laws.candidates(limit)
    photons = to_photons(block.counts, pixels)
    seen = slice(max(block.own.start - _NEEDED, 0), min(block.own.stop + _NEEDED, len(photons)))
    spare = (seen.start, len(photons) - seen.stop)
    found = [_tile(predictor, photons, tile, spare, threshold) for tile in _tiles(*photons.shape[1:])]
    merged = Found(*(np.concatenate([getattr(f, name) for f in found]) for name in ("frame", "row", "column")),
                   np.concatenate([f.values for f in found]))  # fmt: skip
    order = np.lexsort((merged.column, merged.row, merged.frame))
    found_here = Found(merged.frame[order], merged.row[order], merged.column[order], merged.values[order])
    table = _columns(predictor, placed(predictor, found_here, photons[seen], noise_of(pixels)))
    first, last = block.own.start - seen.start, block.own.stop - seen.start
    may_count = (pl.max_horizontal("once", "lasting") >= float(logit(limit))) | pl.col("sure")
    own = table.filter((pl.col("frame") >= first) & (pl.col("frame") < last) & may_count)
    return own.with_columns(pl.col("frame") - np.uint32(first))


def _weighed(table: pl.DataFrame, limit: float) -> pl.DataFrame:
    """Emitters of a whole movie with their probabilities, which depend on how long its molecules are on."""
    lasting = persistence(int(table["sure"].sum()), int(table["again"].sum()))
    p = pl.Series("p", probability(table.select("once", "lasting").to_numpy(), lasting))
    return table.with_columns(p).filter(pl.col("p") >= limit).drop(_UNTIL_THE_END)


def _tiles(rows: int, columns: int) -> list[tuple[slice, slice]]:
    return [
        (slice(top, min(top + _TILE_PX, rows)), slice(left, min(left + _TILE_PX, columns)))
        for top in range(0, rows, _TILE_PX)
        for left in range(0, columns, _TILE_PX)
    ]


def _tile(
    predictor: Predictor,
    photons: NDArray[np.float32],
    tile: tuple[slice, slice],
    spare: tuple[int, int],
    threshold: float,
) -> Found:
    """Find the emitters whose pixel lies in a tile; `spare` frames at both ends are context only."""
    around = [
        slice(max(part.start - MARGIN_PX, 0), min(part.stop + MARGIN_PX, size))
        for part, size in zip(tile, photons.shape[1:], strict=True)
    ]
    seen = torch.from_numpy(np.ascontiguousarray(photons[:, around[0], around[1]])).to(predictor.device)
    height, width = seen.shape[1:]
    # frames are continued to whole multiples of the stride
    seen = F.pad(seen[:, None], (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
    raw = raw_output(predictor, seen[:, 0], spare)[:, :, :height, :width]
    found = decode(raw, threshold=threshold)
    row, column = found.row + around[0].start, found.column + around[1].start
    own = (row >= tile[0].start) & (row < tile[0].stop) & (column >= tile[1].start) & (column < tile[1].stop)
    values = found.values[own]
    values[:, 1] += around[1].start
    values[:, 2] += around[0].start
    return Found(found.frame[own], row[own], column[own], values)


def raw_output(predictor: Predictor, photons: Tensor, spare: tuple[int, int] = (0, 0)) -> Tensor:
    """Raw output for frames `(n, rows, columns)`, without spare ones at both ends; every frame is encoded once."""
    network, reach = predictor.network, predictor.network.context // 2
    first, last = spare[0], len(photons) - spare[1]
    at_once = max(_AT_ONCE_PX[predictor.device.type] // photons[0].numel(), 1)
    with torch.inference_mode():
        decoded = []
        # features of the frames from `held` on, as far as they are known; first of one, as joining to none would forget
        # how they lie in memory
        held = max(first - reach, 0)
        known = held + 1
        full, half = network.encode(photons[held:known, None])
        for start in range(first, last, at_once):
            stop = min(start + at_once, last)
            begin, end = max(start - reach, 0), min(stop + reach, len(photons))
            more = network.encode(photons[known:end, None])
            full, half = (torch.cat([old[begin - held :], new]) for old, new in zip((full, half), more, strict=True))
            held, known = begin, end
            around = F.pad(half, (0, 0, 0, 0, 0, 0, reach - (start - begin), reach - (end - stop)))
            window = torch.cat([around[i : i + stop - start] for i in range(network.context)], dim=1)
            decoded.append(network.decode(full[start - begin : stop - begin], window))
        return torch.cat(decoded)


def placed(predictor: Predictor, found: Found, photons: NDArray[np.float32], noise: Noise) -> Emitters:
    """Give what was found in consecutive frames `(n, rows, columns)` its units, and refine it on these frames."""
    width, height = predictor.camera.pixel_size_nm
    said = found.values.astype(np.float64)
    unit = np.array([width, height, predictor.z_scale_nm])
    values = np.column_stack([said[:, 1:4] * unit, np.exp(said[:, [4, 9]])])
    moved, again = np.zeros(len(values)), np.zeros((len(values), 2 * _REACH))
    errors = before = np.column_stack([said[:, 5:8] * unit, said[:, 8]])
    if predictor.refined and len(values):
        low, high = predictor.kernel.z_range_nm
        values[:, 2] = np.clip(values[:, 2], low, high)
        starts = np.searchsorted(found.frame, np.arange(len(photons) + 1)).astype(np.int64)
        in_photons = np.column_stack([errors[:, :3], errors[:, 3] * values[:, 3]])
        first = values[:, :2]
        refined = refine(photons, starts, values, in_photons, predictor.kernel, noise, reach=_REACH)
        values, spread = refined.values, refined.errors
        errors = np.column_stack([spread[:, :3], spread[:, 3] / values[:, 3]])
        again = np.where(refined.others >= 0, 1 / errors[refined.others, 3], 0.0)
        moved = np.hypot(*(values[:, :2] - first).T) / np.hypot(*spread[:, :2].T)
    single = np.full(len(values), len(photons) == 1)
    return Emitters(found.frame, said[:, 0], values, errors, before, moved, again, single)


def _columns(predictor: Predictor, found: Emitters) -> pl.DataFrame:
    x, y, z, photons, background = found.values.T
    x_err, y_err, z_err = (predictor.laws.sigma(found, k) for k in range(3))
    once, lasting = predictor.laws.odds(found).T
    sure, again = witnesses(found)
    return pl.DataFrame(
        {
            "frame": found.frame.astype(np.uint32),
            "x": x,
            "y": y,
            "z": z,
            "photons": photons,
            "background": background,
            "x_err": x_err,
            "y_err": y_err,
            "z_err": z_err,
            "n_shared": (1 + (found.again > 0).sum(axis=1)).astype(np.uint16),
            **dict(zip(_UNTIL_THE_END, (once, lasting, sure, again), strict=True)),
        }
    )


def _warn(table: pl.DataFrame, card: Card, area_um2: float, frames: int) -> None:
    """Say when the movie leaves the range of the training."""
    if not len(table):
        logger.warning("No localization was found; is this the camera of the movie?")
        return
    seen = {
        "photons": float(table["photons"].median()),  # type: ignore[arg-type]
        "background_photons": float(table["background"].median()),  # type: ignore[arg-type]
        "density_per_um2": len(table) / (area_um2 * frames),
    }
    for name, value in seen.items():
        low, high = card.training_range[name]
        if value > high or (value < low and name != "density_per_um2"):
            logger.warning(
                "%s of this movie is about %.3g; the network was trained from %.3g to %.3g", name, value, low, high
            )
