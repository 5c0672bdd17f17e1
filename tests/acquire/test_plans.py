"""What a plan may ask for, on a small slide: covered objects, two and three colours, wells, limits of dose."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

pytest.importorskip("pymmcore_plus")

from lucule.acquire import covered, experiment, results, writing
from lucule.acquire.control import Control
from lucule.acquire.devices import DATA
from lucule.acquire.engine import Engine
from lucule.acquire.faults import CameraFault
from lucule.acquire.ledger import RunLedger
from lucule.acquire.plan import Plan, load_plan
from lucule.acquire.worker import Worker, drift_of
from lucule.core import InputError, Localizations, Meta
from lucule.core.config import dump_yaml, read_yaml

SMALL: dict[str, Any] = {
    "microscope": {
        "based_on": "simulated",
        "properties": {"Camera-Rows": 64, "Camera-Columns": 64},
        "illumination_radius_um": 5.0,
    },
    "scan": {"area_um": [66, 124, 91, 149], "overview_pixel_um": 0.4},
    "objects": {"minimum_area_um2": 60, "large": "centre"},
    "imaging": {"frames": 20, "burst_frames": 10},
    "stop": {"count_gain": None, "bleached_fraction": None, "empty_per_um2": None, "defocus_factor": None},
    "errors": {"retries": 1},
    "watchdog_s": 0,
}


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at pictures in this process: a second one costs seconds."""
    monkeypatch.setattr(Worker, "call", lambda _, function, *args, **options: function(*args, **options))


def plan(**changes: Any) -> Plan:
    return load_plan(SMALL, changes)


def test_a_covered_object_becomes_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = plan(objects={"large": "cover"}, imaging={"frames": 10}, scan={"exposure_ms": 5})
    done = experiment.acquire(whole, tmp_path)
    assert done.numbers["joined"] == {"done": 1}
    with RunLedger(tmp_path) as ledger:
        fields, (row,) = ledger.rows("field"), ledger.rows("joined").to_dicts()
        assert row["fields"] == ",".join(map(str, fields["id"]))
        assert fields["group"].n_unique() == 1
        assert (fields["at_x_um"] - fields["x_um"]).abs().max() < 0.011  # steps of the stage
        assert len(json.loads(row["corrections"])) == len(fields) >= 4
        assert row["localizations"] + row["twice"] == ledger.rows("burst")["localizations"].sum()
    joined = Localizations.load(tmp_path / row["path"])
    assert len(joined) == row["localizations"]
    region = results.region_of(tmp_path, row["objects"], joined)
    assert region is not None
    assert region.area_um2 > 100  # the whole cell
    # nothing is joined twice
    monkeypatch.setattr(covered, "join_fields", lambda *_: pytest.fail("joined again"))
    experiment.acquire(experiment.plan_of(tmp_path), tmp_path, resume=True)


def field_table(folder: Path, number: int, corner_um: tuple[float, float], colour: int) -> None:
    """Put a field with one burst on disk and into the ledger, its molecules the same for all fields."""
    places = np.random.default_rng(7 + colour).uniform(0, 14_000, (4000, 2)) - 1000 * np.array(corner_um)
    own = places[((places >= 0) & (places < 6400)).all(axis=1)]
    own = own + np.random.default_rng(number).normal(0, 8, own.shape) + (40 * number, 0)
    own = own[((own >= 0) & (own < 6400)).all(axis=1)]
    path = f"fields/{number}_{colour}"
    (folder / "fields").mkdir(exist_ok=True)
    meta = Meta(shape_px=(64, 64), pixel_size_nm=100.0)
    Localizations({"x": own[:, 0], "y": own[:, 1], "frame": np.arange(len(own)) % 50}, meta).save(
        folder / f"{path}.parquet"
    )
    with RunLedger(folder) as ledger:
        ledger.put("burst", 2 * number + colour, field=number, colour=colour, number=0, frames=50, state="done",
                   path=path + writing.ENDINGS["zarr"], localizations=len(own))  # fmt: skip


@pytest.fixture
def half_done(tmp_path: Path) -> Iterator[tuple[Path, Any]]:
    """A run of two colours with an object of three fields, of which the last was given up."""
    two = plan(objects={"large": "cover"}, imaging=[{"frames": 50}, {"frames": 50, "channel": "molecules_561"}])
    two.to_yaml(tmp_path / results.PLAN_FILE)
    with RunLedger(tmp_path) as ledger:
        ledger.put("field", 9, x_um=50.0, y_um=50.0, state="done", group=1, objects="5", position=0)
        for number in range(3):
            x = 3.2 + 5.0 * number
            ledger.put("field", number, x_um=x, y_um=3.2, state="failed" if number == 2 else "done", group=0,
                       objects="4", position=number)  # fmt: skip
            if number < 2:
                for colour in range(2):
                    field_table(tmp_path, number, (x - 3.2, 0.0), colour)

        def join() -> list[dict[str, Any]]:
            engine = Engine(None, two.errors, ledger)  # type: ignore[arg-type]
            engine._rest = lambda: None  # type: ignore[method-assign]
            covered.join_covered(two, tmp_path, ledger=ledger, engine=engine, worker=Worker(), control=Control())
            return ledger.rows("joined").to_dicts()

        yield tmp_path, join


def test_an_object_with_a_missing_field_is_joined_and_says_so(half_done: tuple[Path, Any]) -> None:
    folder, join = half_done
    first, second = join()
    assert (first["fields"], first["missing"], first["state"]) == ("0,1", "2", "done")
    # both colours are moved by what the first one says
    assert first["corrections"] == second["corrections"]
    shifts = np.array(json.loads(first["corrections"]))
    assert shifts[1, 0] - shifts[0, 0] == pytest.approx(40, abs=3)
    (overlap,) = json.loads(first["overlaps"])
    assert overlap["fields"] == [0, 1]
    assert overlap["x_nm"] == pytest.approx(40, abs=3)
    with RunLedger(folder) as ledger:
        assert any("field 3 is missing" in text for text in results.not_followed(ledger))
        # the field is taken after all
        for colour in range(2):
            field_table(folder, 2, (10.0, 0.0), colour)
        ledger.put("field", 2, state="done")
    first, second = join()
    assert (first["fields"], first["missing"]) == ("0,1,2", "")
    assert first["localizations"] > 0


def test_the_second_colour_takes_the_shifts_of_the_first(
    half_done: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, join = half_done
    looked: list[int] = []
    followed = covered.without_drift

    def counted(table: Localizations, *, as_at: Any) -> Any:
        looked.append(len(table))
        return followed(table, as_at=as_at)

    monkeypatch.setattr(covered, "without_drift", counted)
    _, second = join()
    assert len(looked) == 4  # two fields in two colours, once each
    # it is joined as if the shifts had been found anew
    again = covered.join_fields(folder, [0, 1], 1, plan(objects={"large": "cover"}).stitch, folder / "anew.parquet")
    assert {key: second[key] for key in again} == again
    before = Localizations.load(folder / second["path"])
    assert before.data.equals(Localizations.load(folder / "anew.parquet").data)


def test_an_object_that_cannot_be_joined_is_a_failure_and_tried_again(
    half_done: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, join = half_done

    def full(*_: Any) -> None:
        raise CameraFault("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(covered, "join_fields", full)
        assert {row["state"] for row in join()} == {"failed"}
    with RunLedger(folder) as ledger:
        assert any("was not joined" in text for text in results.failed(ledger))
    assert {row["state"] for row in join()} == {"done"}


def test_fields_that_are_not_finished_wait(half_done: tuple[Path, Any]) -> None:
    folder, join = half_done
    with RunLedger(folder) as ledger:
        ledger.put("field", 1, state="planned")
    assert join() == []


def slide_of_two_colours(folder: Path) -> Path:
    """The packaged slide, with a second protein that is seen with 561 nm, ten times as frequent."""
    slide = read_yaml(DATA / "slide.yaml")  # type: ignore[arg-type]
    layers = slide["cells"]["cell"]["scene"]["layers"]
    layers["second"] = {**layers["membrane"], "channel": 1, "specimen": {"kind": "uniform", "density_per_um2": 400}}
    path = folder / "two.yaml"
    path.write_text(dump_yaml(slide), encoding="utf-8")
    return path


def test_two_colours_are_taken_one_after_the_other(tmp_path: Path) -> None:
    rig = {"properties": {"Slide-File": str(slide_of_two_colours(tmp_path))}}
    colours = [{"frames": 20, "burst_frames": 10}, {"channel": "molecules_561", "frames": 10, "burst_frames": 10}]
    two = plan(microscope=rig).replace(imaging=plan(imaging=colours).imaging)
    done = experiment.acquire(two, tmp_path / "run")
    assert done.numbers["fields"] == {"done": 1}
    assert done.numbers["frames"] == 30
    with RunLedger(tmp_path / "run") as ledger:
        bursts = ledger.rows("burst").sort("id")
        assert bursts["colour"].to_list() == [0, 0, 1]
        assert "molecules_561" in bursts["path"][2]
        (field,) = ledger.rows("field").iter_rows(named=True)
        assert "molecules: all 20 frames" in field["reason"]
        assert "molecules_561: all 10 frames" in field["reason"]
    first, second = (results.localizations(tmp_path / "run", 0, colour=colour) for colour in range(2))
    assert (first.meta.n_frames, second.meta.n_frames) == (20, 10)
    # another protein
    assert len(second) / 10 > 2 * len(first) / 20
    with pytest.raises(InputError, match="no finished burst"):
        results.localizations(tmp_path / "run", 0, colour=2)


def test_three_wide_field_colours_are_scanned_and_four_are_refused(tmp_path: Path) -> None:
    control = Control()
    three = plan(scan={"area_um": [70, 130, 82, 142], "channels": ["cell", "nucleus", "molecules"], "exposure_ms": 5})
    done = experiment.acquire(three.replace(imaging=plan(imaging={"frames": 1}).imaging), tmp_path, control=control)
    assert done.numbers["tiles"]["done"] % 3 == 0
    names = sorted(path.name for path in (tmp_path / "overview").glob("*.npz"))
    assert names == ["area_cell.npz", "area_molecules.npz", "area_nucleus.npz"]
    with pytest.raises(InputError, match="at most 3"):
        plan(scan={"channels": ["cell", "nucleus", "molecules", "molecules_561"]})


def test_wells_each_get_their_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def two_of_each_class(_: Path, __: Any, out: Path) -> None:
        far = 9000.0 if out.name.startswith("B2") else 0.0
        places = [(name, far + x, y) for name, x, y in (("a", 0, 0), ("a", 30, 0), ("b", 0, 30), ("b", 30, 30))]
        pl.DataFrame(
            [(name, x, y, 20.0, 1.0, disc((x, y))) for name, x, y in places],
            schema=["class", "x_um", "y_um", "area_um2", "confidence", "outline"],
            orient="row",
        ).write_parquet(out)

    monkeypatch.setattr("lucule.acquire.run.find_in_overview", two_of_each_class)
    monkeypatch.setattr("lucule.acquire.run.Run._image", lambda _: None)
    wells = {"plate": "96-well", "wells": ["A1", "B2"], "size_um": [6, 6]}
    scan = plan().scan.model_dump() | {"area_um": None, "wells": wells, "exposure_ms": 5}
    experiment.acquire(plan().replace(scan=scan, objects={"minimum_area_um2": 1, "quota": 1}), tmp_path)
    with RunLedger(tmp_path) as ledger:
        chosen = ledger.rows("field").select("region", "class").sort("region", "class").rows()
        reasons = ledger.rows("object", state="skipped")["reason"].to_list()
    assert chosen == [("A1", "a"), ("A1", "b"), ("B2", "a"), ("B2", "b")]
    assert reasons == ["the quota of 1 is filled"] * 4


def disc(place: tuple[float, float]) -> str:
    import shapely

    return str(shapely.to_wkb(shapely.Point(*place).buffer(2.5), hex=True))


def test_light_that_is_lost_in_faults_counts_towards_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst that failed has exposed the sample all the same: with its repetition, the limit would be passed."""
    write, failed = writing.write_burst, []

    def once(path: Path, *args: Any, **options: Any) -> Path:
        if not failed:
            failed.append(path)
            raise CameraFault("The camera stopped early")
        return write(path, *args, **options)

    monkeypatch.setattr(writing, "write_burst", once)
    light = 100 * 20 * 0.02 / (np.pi * 5**2)
    done = experiment.acquire(plan(limits={"dose_mj_per_um2": 1.2 * light}), tmp_path)
    assert done.numbers["fields"] == {"failed": 1}
    assert "above the limit" in done.failures[0]
    with RunLedger(tmp_path) as ledger:
        assert ledger.rows("field")["dose_mj_per_um2"][0] <= 1.2 * light
        assert len(ledger.rows("burst", state="done")) == 1


def test_the_drift_of_a_burst_is_told_or_nothing_is_said(tmp_path: Path) -> None:
    places = np.random.default_rng(1).uniform(0, 6400, (300, 2))

    def burst(number: int, shift: tuple[float, float], count: int = 300) -> Path:
        xy = places[:count] + np.array(shift) + np.random.default_rng(number).normal(0, 10, (count, 2))
        return Localizations({"x": xy[:, 0], "y": xy[:, 1]}).save(tmp_path / f"{number}.parquet")

    earlier = [(burst(0, (0, 0)), 0.0, 0.0), (burst(1, (30, -10)), 30.0, -10.0)]
    found = drift_of(earlier, burst(2, (55, -20)))
    assert found is not None
    assert (found.x_nm, found.y_nm) == pytest.approx((55, -20), abs=4)
    assert found.error_nm < 4
    assert drift_of([], burst(3, (0, 0))) is None
    assert drift_of(earlier, burst(4, (0, 0), count=5)) is None
