"""`lucule classify`, `lucule cluster`, `lucule render`: one step on one table."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

from lucule.cli.options import (
    ConfigOption,
    DeviceOption,
    DropOption,
    DryRunOption,
    FormatOption,
    JsonOption,
    MapOption,
    PixelSizeOption,
    RegionOption,
    SetOption,
    UnitOption,
    column_map,
)
from lucule.cli.session import session

Table = Annotated[Path, typer.Argument(help="Localization table in any supported format.")]


def classify(
    table: Table,
    out: Annotated[Path, typer.Option("--out", help="Table to write, with label and p_label.")],
    model: Annotated[str | None, typer.Option(help="A model by name or folder; see `lucule models`.")] = None,
    device: DeviceOption = "auto",
    map_: MapOption = [],  # noqa: B006
    unit: UnitOption = None,
    pixel_size_nm: PixelSizeOption = None,
    drop_invalid: DropOption = False,
    format_: FormatOption = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Label every localization with a network."""
    with session(inputs=table, as_json=json) as run:
        from lucule import io
        from lucule.workflows import clusters
        from lucule.workflows.reading import check, read_table

        settings = run.changed(
            clusters.LabelSettings(), config, set_, model=model,
            columns=column_map(map_), unit=unit, pixel_size_nm=pixel_size_nm, drop_invalid=drop_invalid or None,
            format=format_,
        )  # fmt: skip
        if dry_run:
            run.plan(settings, read=str(table), write=str(out))
            return
        locs = read_table(table, settings)
        run.warnings += check(locs)
        labelled = clusters.label(locs, settings, device=device, progress=run.progress)
        io.write(labelled, out)
        run.results = _label_counts(labelled) | {"written": str(out)}


def cluster(
    table: Table,
    out: Annotated[Path, typer.Option("--out", help="Table to write, with label, p_label and cluster.")],
    clusters_out: Annotated[
        Path | None, typer.Option("--clusters", help="Table of clusters to write (.parquet or .csv).")
    ] = None,
    method: Annotated[
        str,
        typer.Option(help="network, or a published method such as dbscan, its settings by --set; `list` shows all."),
    ] = "network",
    model: Annotated[str | None, typer.Option(help="A model by name or folder; see `lucule models`.")] = None,
    region: RegionOption = None,
    device: DeviceOption = "auto",
    map_: MapOption = [],  # noqa: B006
    unit: UnitOption = None,
    pixel_size_nm: PixelSizeOption = None,
    drop_invalid: DropOption = False,
    format_: FormatOption = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Label, group and measure. A table that has a column `label` keeps it unless a model or a method is named."""
    with session(inputs=table, as_json=json) as run:
        from lucule import cluster as room
        from lucule import io
        from lucule.workflows import clusters
        from lucule.workflows.reading import check, read_table

        if method == "list":
            run.results = {"methods": room.methods.describe()}
            return
        assignments, own = (set_, {}) if method == "network" else _of_method(method, config, set_, model)
        settings = run.changed(
            clusters.Settings(), config if method == "network" else None, assignments, model=model, region=region,
            columns=column_map(map_), unit=unit, pixel_size_nm=pixel_size_nm, drop_invalid=drop_invalid or None,
            format=format_,
        )  # fmt: skip
        chosen = None if method == "network" else room.methods.settings_of(method, own)
        if dry_run:
            plan = {"read": str(table), "write": [str(out), *([str(clusters_out)] if clusters_out else [])]}
            if chosen is not None:
                plan |= {"method": method, "method_settings": chosen.model_dump(mode="json")}
            run.plan(settings, **plan)
            return
        locs = read_table(table, settings)
        run.warnings += check(locs)
        outline = clusters.read_region(settings, locs)
        if chosen is not None:
            grouped = room.methods.find(method).run(locs, chosen, region=outline)
        else:
            labelled = "label" in locs and model is None
            grouped = (
                clusters.group(locs, settings, progress=run.progress)
                if labelled
                else clusters.find(locs, settings, device=device, progress=run.progress)
            )
        measured = room.measure(grouped, region=outline, intervals=settings.intervals, progress=run.progress)
        io.write(grouped, out)
        if clusters_out is not None:
            measured.save(clusters_out)
        run.results = _label_counts(grouped) | {"summary": measured.summary(), "written": str(out)}


def render(
    table: Table,
    out: Annotated[Path, typer.Option("--out", help="PNG to write.")],
    pixel_nm: Annotated[float | None, typer.Option(help="Size of a pixel of the picture, nm.")] = None,
    method: Annotated[
        str | None, typer.Option(help="gaussian (the default where precisions are known), histogram or points.")
    ] = None,
    colour_by: Annotated[str | None, typer.Option(help="z, label, cluster or any column of numbers.")] = None,
    region: RegionOption = None,
    map_: MapOption = [],  # noqa: B006
    unit: UnitOption = None,
    pixel_size_nm: PixelSizeOption = None,
    drop_invalid: DropOption = False,
    format_: FormatOption = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Draw a table as a picture with a scale bar."""
    with session(inputs=table, as_json=json) as run:
        from lucule import view
        from lucule.workflows.clusters import Settings, read_region
        from lucule.workflows.reading import read_table

        settings = run.changed(
            Settings(), config, set_, region=region,
            columns=column_map(map_), unit=unit, pixel_size_nm=pixel_size_nm, drop_invalid=drop_invalid or None,
            format=format_,
        )  # fmt: skip
        if dry_run:
            run.plan(settings, read=str(table), write=str(out))
            return
        locs = read_table(table, settings)
        picture = view.render(
            locs,
            pixel_nm=pixel_nm,
            method=method or ("gaussian" if "x_err" in locs else "histogram"),
            colour_by=colour_by,
            region=read_region(settings, locs),
        )
        picture.save(out)
        height, width = picture.rgb.shape[:2]
        run.results = {"localizations": len(locs), "width_px": width, "height_px": height,
                       "pixel_nm": picture.pixel_nm, "written": str(out)}  # fmt: skip


def _label_counts(locs: Any) -> dict[str, Any]:
    labels = locs["label"]
    clustered = int((labels > 0).sum())
    return {"localizations": len(locs), "clustered": clustered, "percent_clustered": 100 * clustered / len(locs)}


def _of_method(
    method: str, config: Path | None, assignments: list[str], model: str | None
) -> tuple[list[str], dict[str, Any]]:
    """What of the settings says how to read the table, as assignments, and those of the method."""
    from lucule.core import InputError
    from lucule.core.config import parse_assignments, read_yaml
    from lucule.workflows.reading import ReadSettings

    if model is not None:
        raise InputError("A model labels for the method network only", received=f"--method {method} --model {model}")
    values = (read_yaml(config) if config else {}) | parse_assignments(assignments)
    reading = {*ReadSettings.model_fields, "region"}
    # JSON is YAML, which the values came from
    given = [f"{key}={dumps(value)}" for key, value in values.items() if key in reading]
    return given, {key: value for key, value in values.items() if key not in reading}
