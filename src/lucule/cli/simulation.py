"""What `lucule simulate` lists, changes and writes."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

from lucule.core import InputError, Progress
from lucule.core.config import parse_assignments, read_yaml

_SCENARIO = {"density_per_um2", "points_per_cluster", "fraction_clustered", "radius_nm", "shape", "dims"}


def everything() -> dict[str, Any]:
    """All that is packaged, by name."""
    from lucule import simulate as room
    from lucule.simulate import scenario as scenarios
    from lucule.simulate.specimens import SPECIMENS

    rows: dict[str, list[dict[str, Any]]] = {
        "scenes": [{"name": name, "title": room.load_scene(name).title} for name in room.scenes()],
        "scenarios": [
            {"name": name} | room.load(name).model_dump(mode="json", include=_SCENARIO)
            for name in scenarios.available()
        ],
        "specimens": [
            {"kind": kind.model_fields["kind"].annotation.__args__[0], "what": _first_line(kind)} for kind in SPECIMENS
        ],
        "dyes": [{"name": name, "dye": room.load_dye(name).name} for name in room.dyes()],
    }
    cameras = {name: room.load_camera(name) for name in room.available_cameras()}
    rows["cameras"] = [
        {"name": name, "kind": camera.kind, "pixel_size_nm": camera.pixel_size_nm[0],
         "quantum_efficiency": camera.quantum_efficiency, "em_gain": camera.em_gain}
        for name, camera in cameras.items()
    ]  # fmt: skip
    psfs = {name: room.load_psf(name) for name in room.available_psfs()}
    rows["psfs"] = [
        {"name": name, "kind": psf.kind, "z_from_nm": psf.z_range_nm[0], "z_to_nm": psf.z_range_nm[1]}
        for name, psf in psfs.items()
    ]
    return dict(rows)


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def changed_scene(scene: Any, config: Path | None, assignments: list[str]) -> Any:
    """Change a scene as `Scene.with_changes` does: first by the keys of a file, then by those of `--set`."""
    changes: dict[str, Any] = read_yaml(config) if config else {}
    for assignment in assignments:
        value: Any = parse_assignments([assignment])
        key = assignment.partition("=")[0]
        for part in key.split("."):
            value = value[part]
        changes[key] = value
    return scene.with_changes(**changes) if changes else scene


def write_table(settings: Any, out: Path, *, seed: int, progress: Progress, **options: Any) -> dict[str, Any]:
    """Write a table with the columns of its truth; into a folder together with what their ids point to."""
    from lucule import io
    from lucule import simulate as room
    from lucule.simulate.truth_files import save_sample

    is_folder = _is_folder(out)
    table = out / "localizations.parquet" if is_folder else out
    if out.name.lower().endswith((".tif", ".tiff", ".zarr")):
        raise InputError("A table cannot be a TIFF or Zarr", received=out.name, next_step="for a movie add --movie")
    with progress.task("Simulation"):
        locs = room.localizations(settings, seed=seed, **options)
    written = [str(io.write(locs, table))]
    if is_folder and isinstance(settings, room.Scene):
        written.append(str(save_sample(settings, out / "localizations.truth", seed=seed)))
    results: dict[str, Any] = {"localizations": len(locs)}
    if isinstance(settings, room.Scenario):
        results["clusters"] = int(locs["true_cluster"].max()) + 1
    else:
        results |= {
            "frames": locs.meta.n_frames,
            "molecules": locs.data.filter(locs.data["molecule"] >= 0)["molecule"].n_unique(),
            "structures": locs.data.filter(locs.data["structure"] >= 0)["structure"].n_unique(),
            "false_positives": int((locs["emitters"] == 0).sum()),
        }
    return results | {"seed": seed, "written": written if is_folder else str(table)}


def write_movie(settings: Any, out: Path, *, seed: int, progress: Progress, **options: Any) -> dict[str, Any]:
    """Write a movie, and its truth in a folder beside it."""
    from lucule import simulate as room
    from lucule.simulate.movie import movie_stem

    path = out / "movie.ome.tif" if _is_folder(out) else out
    stem = movie_stem(path)
    movie, truth = room.movie(settings, seed=seed, **options)
    movie.save(path, progress=progress)
    frames, rows, columns = movie.shape
    return {
        "frames": frames,
        "height_px": rows,
        "width_px": columns,
        "emitters_per_frame": len(truth.emitters) / frames,
        "molecules": len(truth.dyes),
        "structures": truth.structures.height,
        "seed": seed,
        "written": [str(path), str(path.with_name(f"{stem}.truth"))],
    }


def write_imitation(
    like: Path, out: Path | None, *, scene: str | None, progress: Progress, **options: Any
) -> dict[str, Any]:
    """Write a scene that imitates a table or a movie (TIFF); what was measured on both is the result."""
    from lucule import io
    from lucule import simulate as room

    if out is None:
        raise InputError("The output is not named", next_step=f"lucule simulate --like {like} --out mine.yaml")
    is_movie = like.suffix.lower() in (".tif", ".tiff")
    with progress.task("Imitation"):
        data = like if is_movie else io.read(like)
        template = None if scene is None else room.load_scene(scene)
        found = room.imitate(data, scene=template, **options)
    written = found.save(out / "scene.yaml" if _is_folder(out) else out)
    rows = [
        {name: value if isinstance(value, str) or (value is not None and isfinite(value)) else None
         for name, value in row.items()}
        for row in found.table().to_dicts()
    ]  # fmt: skip
    return {"measured": rows, "seed": options["seed"], "written": str(written)}


def _is_folder(out: Path) -> bool:
    return out.suffix != ".zarr" and (out.is_dir() or not out.suffix)
