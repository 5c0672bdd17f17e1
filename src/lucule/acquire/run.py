"""One run while it goes on: every finished piece of work stands in the ledger before the next one begins."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lucule.acquire import feedback, planner, scanning, writing
from lucule.acquire.checkpoints import Checkpoints
from lucule.acquire.control import Control, Stopped
from lucule.acquire.covered import join_covered
from lucule.acquire.engine import Engine, Skipped
from lucule.acquire.faults import StageFault, WritingFault
from lucule.acquire.finder import assemble, find_in_overview, find_in_tiles
from lucule.acquire.focus import FocusLock, FocusSurface, autofocus
from lucule.acquire.ledger import RunLedger
from lucule.acquire.microscope import Microscope
from lucule.acquire.plan import Imaging, Plan
from lucule.acquire.planner import Region
from lucule.acquire.results import table_of
from lucule.acquire.worker import BurstNumbers, Worker, drift_of, localize_burst, ring_correlation
from lucule.core import Progress, WorkError, package_version
from lucule.core.files import atomic_path

HEARTBEAT: Final = "heartbeat"
_BURSTS_MAX: Final = 100_000
# of a burst that cannot be compressed, and what must be left for tables and the record (bytes)
_BYTES_PER_PIXEL: Final = 2
_ROOM_LEFT: Final = 20_000_000


@dataclass(frozen=True)
class Burst:
    """One burst as it is to be taken."""

    field: dict[str, Any]
    colour: int
    imaging: Imaging
    number: int
    first_frame: int
    frames: int
    laser: str | None
    readout_mw: float
    activation_mw: float
    exposure_ms: float
    id: int

    @property
    def name(self) -> str:
        """What people call it; fields and bursts are counted from 1 then."""
        return f"field {self.field['id'] + 1}, {self.imaging.channel}, burst {self.number + 1}"

    @classmethod
    def after(cls, done: pl.DataFrame, field: dict[str, Any], colour: int, imaging: Imaging, plan: Plan) -> Self:
        """The burst that follows those that are done."""
        channel = plan.microscope.channels[imaging.channel]
        taken = int(done["frames"].sum())
        start = 0.0 if imaging.density is None else imaging.density.start_mw
        return cls(
            field,
            colour,
            imaging,
            number=len(done),
            first_frame=taken,
            frames=min(imaging.burst_frames, imaging.frames - taken),
            laser=channel.laser,
            readout_mw=imaging.power_mw or channel.power_mw,
            activation_mw=float(done["next_activation_mw"][-1]) if len(done) else start,
            exposure_ms=imaging.exposure_ms or channel.exposure_ms,
            id=(field["id"] * len(plan.imaging) + colour) * _BURSTS_MAX + len(done),
        )


class Run:
    """One run while it goes on."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        ledger: RunLedger,
        microscope: Microscope,
        worker: Worker,
        control: Control,
        progress: Progress,
    ) -> None:
        self.plan, self.folder, self.ledger = plan, folder, ledger
        self.microscope, self.worker, self.control, self.progress = microscope, worker, control, progress
        self.engine = Engine(microscope, plan.errors, ledger)
        self.checkpoints = Checkpoints(folder / "specimen", ledger, microscope.specimen)
        self.affine = plan.affine
        self.surface: FocusSurface | None = None

    def all(self) -> bool:
        """Scan, find, image; tell whether someone stopped it."""
        self.control.beat_on(self.folder / HEARTBEAT)
        self.checkpoints.put_back()
        regions = planner.regions_of(self.plan.scan, self.affine)
        stopped = False
        try:
            self.control.point(self._size())
            self._measure_surface(regions)
            self._scan(regions)
            self._find(regions)
            self._choose()
            self._image()
            join_covered(
                self.plan, self.folder, ledger=self.ledger, engine=self.engine, worker=self.worker, control=self.control
            )
        except Stopped:
            stopped = True
            self.ledger.note("stop", "run", "stopped from outside; it can be resumed")
        finally:
            self.control.doing = "switching off"
            self.microscope.halt()
            self.microscope.lasers_off()
        return stopped

    def _size(self) -> str:
        """How much there is to do, for whoever decides about the start."""
        done = len(self.ledger.rows("field", state="done"))
        if self.ledger.kept("chosen") is not None:
            return f"{done} of {len(self.ledger.rows('field'))} fields are done"
        size = planner.estimate(self.plan, shape_px=self.microscope.shape_px, pixel_um=self.microscope.pixel_size_um)
        return (
            f"{size['tiles']} tiles, at most {size['fields_at_most']} fields of {size['frames_per_field']:,} frames, "
            f"{size['time_at_most_min']:.0f} min, {size['disk_at_most_gb']:.2g} GB"
        )

    # scan

    def _measure_surface(self, regions: list[Region]) -> None:
        focus = self.plan.focus
        if focus.method != "surface":
            return
        measured = self.ledger.kept("surface")
        if measured is None:
            bounds = np.array([region.bounds_um for region in regions])
            (x0, y0), (x1, y1) = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
            turns = 2 * np.pi * np.arange(focus.points) / focus.points + 0.6
            middle, half = np.array([x0 + x1, y0 + y1]) / 2, np.array([x1 - x0, y1 - y0]) / 2
            places = middle + 0.7 * half * np.stack([np.cos(turns), np.sin(turns)], axis=1)
            measured = []
            for number, place in enumerate(places):
                self.control.point(f"focus, place {number + 1} of {len(places)}")
                try:
                    z = self.engine.attempt(f"focus {number}", partial(self._autofocus_at, place))
                    measured.append([float(place[0]), float(place[1]), z])
                except Skipped:
                    continue
            self.ledger.keep("surface", measured)
        places, heights = np.array(measured)[:, :2], np.array(measured)[:, 2]
        self.surface = FocusSurface.fit(places, heights)

    def _autofocus_at(self, place: NDArray[np.float64]) -> float:
        self._go(*place)
        focus = self.plan.focus
        return autofocus(self.microscope, channel=focus.channel, range_um=focus.range_um, steps=focus.steps)

    def _go(self, x_um: float, y_um: float) -> None:
        stage = self.affine.to_stage((x_um, y_um))
        self.microscope.move_to(float(stage[0]), float(stage[1]))
        if self.surface is not None:
            self.microscope.focus_to(self.surface.z_um(x_um, y_um))

    def _scan(self, regions: list[Region]) -> None:
        scan = self.plan.scan
        if not len(self.ledger.rows("tile")):
            with self.ledger.together():
                number = 0
                for region in regions:
                    for x, y in planner.tiles_of(region, self.microscope.field_um, scan.overlap_percent):
                        for channel in scan.channels:
                            self.ledger.put("tile", number, region=region.name, channel=channel, x_um=float(x),
                                            y_um=float(y), state="planned")  # fmt: skip
                            number += 1
        left = self._unfinished("tile")
        if scan.mode == "continuous":
            self._scan_rows(left)
            return
        with self.progress.task("Scan", len(left), "pictures") as task:
            for tile in left:
                self.control.point(f"scan, picture {tile['id'] + 1}")
                self._piece("tile", tile["id"], f"picture {tile['id'] + 1}", partial(self._take_tile, tile))
                task.advance()

    def _scan_rows(self, left: list[dict[str, Any]]) -> None:
        """Move along the rows of a continuous scan; a row is done with all its tiles, or not at all."""
        with self.progress.task("Scan", len(left), "pictures") as task:
            for row in scanning.rows_of(left):
                subject = f"row of {len(row)} pictures from {row[0]['id'] + 1}"
                self.control.point(f"scan, {subject}")
                try:
                    taken = self.engine.attempt(subject, partial(self._take_row, row))
                except Skipped as skipped:
                    with self.ledger.together():
                        for tile in row:
                            self.ledger.put("tile", tile["id"], state="failed", reason=skipped.reason)
                    continue
                with self.checkpoints.written(), self.ledger.together():
                    for tile, values in zip(row, taken, strict=True):
                        self.ledger.put("tile", tile["id"], state="done", **values)
                    self.checkpoints.name()
                task.advance(len(row))

    def _take_row(self, row: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Pictures of the tiles of a row, taken while the stage moves; each has the position it was taken at."""
        scope, (width, _), channel = self.microscope, self.microscope.field_um, row[0]["channel"]
        motion = scanning.motion_of(self.plan, channel, width_um=width, pixel_um=scope.pixel_size_um)
        wanted = np.array([tile["x_um"] for tile in row])
        before, after = wanted[0] - motion.run_up_um, wanted[-1] + motion.pitch_um
        if scanning.is_backwards(row, len(self.plan.scan.channels)):
            before, after = wanted[-1] + motion.run_up_um, wanted[0] - motion.pitch_um
        ends = [self.affine.to_stage((x, row[0]["y_um"])) for x in (before, after)]
        (x0, y0), (x1, y1) = ((float(x), float(y)) for x, y in ends)
        if self.surface is not None:
            scope.focus_to(self.surface.z_um((before + after) / 2, row[0]["y_um"]))
        self._set_scan_light(channel)
        # of frames that come more often than tiles do, those wait in memory that are the nearest to a tile so far
        kept: dict[int, tuple[NDArray[Any], NDArray[np.float64]]] = {}
        for frame, place in scope.along(
            (x0, y0), (x1, y1), speed_um_s=motion.speed_um_s / self.affine.scale, interval_ms=motion.interval_ms
        ):
            self.control.frame = frame
            self.control.beat()
            at = self.affine.to_plane(place)
            away = np.abs(wanted - at[0])
            for number in np.flatnonzero(away <= motion.pitch_um).tolist():
                if number not in kept or away[number] < abs(wanted[number] - kept[number][1][0]):
                    kept[number] = frame, at
        places = np.array([at[0] for _, at in kept.values()])
        covered = len(kept) == len(row) and scanning.is_covered(
            places, wanted, width_um=width, pitch_um=motion.pitch_um
        )
        if not covered:
            raise StageFault("The pictures of the row leave a gap", received=f"{len(kept)} of {len(row)} places seen")
        return [self._written(tile, *kept[number]) for number, tile in enumerate(row)]

    def _set_scan_light(self, channel: str) -> None:
        """Filters, exposure and laser for pictures of the scan."""
        light = scanning.light_of(self.plan, channel)
        self.microscope.set_channel(channel, power_mw=light.power_mw)
        self.microscope.set_exposure(light.exposure_ms)

    def _take_tile(self, tile: dict[str, Any]) -> dict[str, Any]:
        self._go(tile["x_um"], tile["y_um"])
        self._set_scan_light(tile["channel"])
        image = self.microscope.snap()
        self.control.frame = image
        return self._written(tile, image, self.affine.to_plane(self.microscope.position_um))

    def _written(self, tile: dict[str, Any], image: NDArray[Any], at: NDArray[np.float64]) -> dict[str, Any]:
        import tifffile

        path = self.folder / "tiles" / f"{tile['id']:05d}.tif"
        try:
            with atomic_path(path) as temporary:
                tifffile.imwrite(temporary, image)
        except OSError as error:
            raise WritingFault(f"The picture cannot be written: {error.strerror}", received=path) from error
        return {"path": self._name(path), "x_um": float(at[0]), "y_um": float(at[1]), "z_um": self.microscope.z_um}

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _unfinished(self, table: str) -> list[dict[str, Any]]:
        return self.ledger.rows(table).filter(pl.col("state").is_in(["planned", "failed"])).to_dicts()

    def _piece(self, table: str, number: int, subject: str, work: Callable[[], dict[str, Any]]) -> None:
        """Do one piece of work with retries; its result and its state are written together."""
        try:
            values = self.engine.attempt(subject, work)
        except Skipped as skipped:
            self.ledger.put(table, number, state="failed", reason=skipped.reason)
            return
        with self.checkpoints.written(), self.ledger.together():
            self.ledger.put(table, number, **{"state": "done", **values})
            self.checkpoints.name()

    # find

    def _find(self, regions: list[Region]) -> None:
        import tifffile

        if self.ledger.kept("found") is not None:
            return
        self.control.point("looking for objects")
        plan, tiles = self.plan, self.ledger.rows("tile", state="done")
        rows: list[dict[str, Any]] = []
        with self.progress.task("Find", len(regions), "regions") as task:
            for region in regions:
                for channel in plan.scan.channels:
                    own = tiles.filter((pl.col("region") == region.name) & (pl.col("channel") == channel))
                    if not len(own):
                        continue
                    pictures = [
                        (tifffile.imread(self.folder / path), x, y)
                        for path, x, y in own.select("path", "x_um", "y_um").iter_rows()
                    ]
                    overview = assemble(
                        pictures,
                        tile_pixel_um=self.microscope.pixel_size_um,
                        pixel_um=plan.scan.overview_pixel_um,
                        overlap=plan.scan.overlap_percent / 100,
                    )
                    overview.save(self.folder / "overview" / f"{region.name}_{channel}.npz")
                rows += self._objects_of(region)
                task.advance()
        with self.ledger.together():
            for number, row in enumerate(rows):
                self.ledger.put("object", number, state="planned", **row)
            self.ledger.keep("found", len(rows))

    def _objects_of(self, region: Region) -> list[dict[str, Any]]:
        seen = self.folder / "overview" / f"{region.name}_{self.plan.scan.channels[0]}.npz"
        out = self.folder / "overview" / f"{region.name}_objects.parquet"
        if not seen.exists():
            self.ledger.note("find", region.name, "no picture of this region was taken")
            return []
        settings = self.plan.objects
        look = partial(self.worker.call, find_in_overview, seen, settings, out)
        if settings.finder == "model":
            own = {"region": region.name, "channel": self.plan.scan.channels[0], "state": "done"}
            tiles = [
                (self.folder / path, x, y)
                for path, x, y in self.ledger.rows("tile", **own).select("path", "x_um", "y_um").iter_rows()
            ]
            look = partial(self.worker.call, find_in_tiles, tiles, self.microscope.pixel_size_um, settings, out)
        try:
            reason = self.engine.attempt(f"objects of {region.name}", look)
        except Skipped as skipped:
            raise WorkError(f"The objects of {region.name} were not found: {skipped.reason}") from None
        if reason is not None:
            self.ledger.note("find", region.name, reason)
        return [{"region": region.name, **row} for row in pl.read_parquet(out).iter_rows(named=True)]

    def _choose(self) -> None:
        if self.ledger.kept("chosen") is not None:
            return
        radius = planner.disk_radius_um(self.plan, self.microscope.field_um)
        choice = planner.choose_fields(
            self.ledger.rows("object"),
            self.plan.objects,
            field_um=self.microscope.field_um,
            radius_um=radius,
            start=self.affine.to_plane(self.microscope.position_um),
        )
        with self.ledger.together():
            for number, field in enumerate(choice.fields.iter_rows(named=True)):
                self.ledger.put("field", number, position=number, state="planned", dose_mj_per_um2=0.0, **field)
                for one in field["objects"].split(","):
                    self.ledger.put("object", int(one), state="chosen")
            for number, reason in choice.reasons.items():
                self.ledger.put("object", number, state="skipped", reason=reason)
            self.ledger.keep("chosen", len(choice.fields))

    # image

    def _image(self) -> None:
        left = self._unfinished("field")
        with self.progress.task("Image", len(left), "fields") as task:
            for field in left:
                self.control.point(f"field {field['id'] + 1}")
                self._field(field)
                task.advance()

    def _field(self, field: dict[str, Any]) -> None:
        number = field["id"]
        try:
            self.engine.attempt(f"field {number + 1}", lambda: self._arrive(field), is_step=True)
            reasons = [self._movie(field, colour, imaging) for colour, imaging in enumerate(self.plan.imaging)]
        except Skipped as skipped:
            self.ledger.put("field", number, state="failed", reason=skipped.reason)
            return
        finally:
            self.microscope.stop()
            self.microscope.lasers_off()
        self.ledger.put("field", number, state="done", reason="; ".join(reasons))

    def _arrive(self, field: dict[str, Any]) -> None:
        self._go(field["x_um"], field["y_um"])
        focus = self.plan.focus
        if focus.method == "lock":
            FocusLock(self.microscope).hold()
        elif focus.method == "software":
            autofocus(self.microscope, channel=focus.channel, range_um=focus.range_um, steps=focus.steps)
        x, y = self.affine.to_plane(self.microscope.position_um)
        self.ledger.put("field", field["id"], z_um=self.microscope.z_um, at_x_um=float(x), at_y_um=float(y))

    def _movie(self, field: dict[str, Any], colour: int, imaging: Imaging) -> str:
        """Take the bursts of one colour; tell why it ended."""
        while True:
            rows = self.ledger.rows("burst", field=field["id"], colour=colour, state="done").sort("number")
            if len(rows) and rows["decision"][-1] != "go on":
                return f"{imaging.channel}: {rows['reason'][-1]}"
            burst = Burst.after(rows, field, colour, imaging, self.plan)
            self.control.point(burst.name)
            self._piece("burst", burst.id, burst.name, partial(self._take_burst, burst, rows))
            row = self.ledger.rows("burst", id=burst.id).row(0, named=True)
            if row["state"] != "done":
                raise Skipped(row["reason"])

    def _take_burst(self, burst: Burst, before: pl.DataFrame) -> dict[str, Any]:
        path = self._record(burst)
        table = path.with_name(path.name.removesuffix(writing.ENDINGS[self.plan.format]) + ".parquet")
        numbers, drift, resolution = self.engine.attempt(
            f"localize {path.name}", lambda: self._look(burst, before, path, table), is_step=True
        )
        area = float(np.prod(self.microscope.field_um))
        seen = feedback.Seen(
            burst.frames, numbers.localizations, numbers.localizations / (burst.frames * area), numbers.sigma_nm,
            burst.activation_mw, resolution,
        )  # fmt: skip
        imaging = burst.imaging
        decision = feedback.decide([*_seen(before), seen], self.plan.stop, imaging.density, frames=imaging.frames)
        self.ledger.note("decision", burst.name, f"{decision.action}: {decision.reason}")
        return {
            "field": burst.field["id"], "colour": burst.colour, "number": burst.number, "frames": burst.frames,
            "path": self._name(path), "localizations": seen.localizations, "density_per_um2": seen.density_per_um2,
            "sigma_nm": seen.sigma_nm, "activation_mw": burst.activation_mw,
            "next_activation_mw": decision.activation_mw, "frc_nm": resolution, "decision": decision.action,
            "reason": decision.reason, **drift,
        }  # fmt: skip

    def _look(
        self, burst: Burst, before: pl.DataFrame, path: Path, table: Path
    ) -> tuple[BurstNumbers, dict[str, float | None], float | None]:
        """Localize a burst; its numbers, its drift, and the resolution of the movie so far where it is wanted.

        A worker that dies costs another look and no light: the sample is not exposed again.
        """
        numbers = self.worker.call(localize_burst, path, self._camera(), burst.first_frame, table)
        resolution = None
        if self.plan.stop.frc_gain is not None and (burst.number + 1) & burst.number == 0:
            tables = [*(self.folder / table_of(name) for name in before["path"]), table]
            resolution = self.worker.call(ring_correlation, tables)
        return numbers, self._drift(before, table), resolution

    def _drift(self, before: pl.DataFrame, table: Path) -> dict[str, float | None]:
        """Drift of a burst against the first one of its colour, as far as it can be told."""
        if not len(before):
            return {"drift_x_nm": 0.0, "drift_y_nm": 0.0, "drift_error_nm": 0.0}
        known = before.filter(pl.col("drift_x_nm").is_not_null()).select("path", "drift_x_nm", "drift_y_nm")
        earlier = [(self.folder / table_of(path), x, y) for path, x, y in known.iter_rows()]
        drift = self.worker.call(drift_of, earlier, table)
        if drift is None:
            return {"drift_x_nm": None, "drift_y_nm": None, "drift_error_nm": None}
        return {"drift_x_nm": drift.x_nm, "drift_y_nm": drift.y_nm, "drift_error_nm": drift.error_nm}

    def _record(self, burst: Burst) -> Path:
        """Expose and write one burst, where it belongs."""
        scope, imaging = self.microscope, burst.imaging
        x, y = (float(value) for value in self.affine.to_stage((burst.field["x_um"], burst.field["y_um"])))
        if not scope.is_at(x, y):
            scope.move_to(x, y)
        self._check_room(burst)
        self._expose(burst)
        scope.set_channel(imaging.channel)
        if burst.laser is not None:
            scope.set_laser(burst.laser, burst.readout_mw)
        if imaging.density is not None:
            scope.set_laser(imaging.density.laser, burst.activation_mw)
        scope.set_exposure(burst.exposure_ms)
        folder = self.folder / "fields" / f"{burst.field['id']:04d}"
        notes = {
            "software": f"lucule {package_version()}", "field": str(burst.field["id"]), "channel": imaging.channel,
            "burst": str(burst.number), "position_um": str(scope.position_um), "z_um": f"{scope.z_um:g}",
            "powers_mw": str(scope.powers_mw), "exposure_ms": f"{burst.exposure_ms:g}",
        }  # fmt: skip
        path = writing.write_burst(
            folder / f"{imaging.channel}_{burst.number:04d}{writing.ENDINGS[self.plan.format]}",
            self._watched(scope.frames(burst.frames)),
            shape=(burst.frames, *scope.shape_px),
            pixel_size_um=scope.pixel_size_um,
            exposure_ms=burst.exposure_ms,
            notes=notes,
        )
        if not scope.is_at(x, y):
            raise StageFault("The stage moved during the burst", received=scope.position_um, allowed=f"({x}, {y}) um")
        return path

    def _check_room(self, burst: Burst) -> None:
        """End the run before light falls on a sample whose pictures have no room."""
        needed = burst.frames * int(np.prod(self.microscope.shape_px)) * _BYTES_PER_PIXEL + _ROOM_LEFT
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise WorkError(
                "The disk has no room for the next burst",
                received=f"{free / 1e6:.0f} MB free",
                allowed=f"at least {needed / 1e6:.0f} MB",
                next_step=f"make room, then lucule acquire --resume {self.folder}",
            )

    def _expose(self, burst: Burst) -> None:
        """Record the dose before the light is on: what is lost in a crash has been exposed all the same."""
        disk_um2 = np.pi * planner.disk_radius_um(self.plan, self.microscope.field_um) ** 2
        light = (burst.readout_mw + burst.activation_mw) * burst.frames * burst.exposure_ms / 1000
        number = burst.field["id"]
        before = self.ledger.rows("field", id=number)["dose_mj_per_um2"][0]
        dose, limit = float(before + light / disk_um2), self.plan.limits.dose_mj_per_um2
        if limit is not None and dose > limit:
            raise Skipped(f"with this burst, the dose would be {dose:.3g} mJ per um2, above the limit of {limit:g}")
        self.ledger.put("field", number, dose_mj_per_um2=dose)

    def _watched(self, frames: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        for frame in frames:
            self.control.frame = frame
            self.control.beat()
            yield frame

    def _camera(self) -> Any:
        size = 1000 * self.microscope.pixel_size_um
        return self.plan.microscope.camera.replace(pixel_size_nm=(size, size))


def _seen(bursts: pl.DataFrame) -> list[feedback.Seen]:
    columns = ("frames", "localizations", "density_per_um2", "sigma_nm", "activation_mw", "frc_nm")
    return [feedback.Seen(**row) for row in bursts.select(columns).iter_rows(named=True)]
