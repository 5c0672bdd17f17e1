"""`lucule simulate`, `lucule train`, `lucule models`: data with the truth, and networks made from them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from lucule.cli.options import ConfigOption, DeviceOption, DryRunOption, JsonOption, SetOption
from lucule.cli.session import session


def simulate(
    scene: Annotated[
        str | None, typer.Argument(help="A packaged scene or scenario, a YAML file, or `list`.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder, or a file whose ending chooses the format.")
    ] = None,
    movie: Annotated[
        bool, typer.Option("--movie", help="A camera movie (OME-TIFF, OME-Zarr) instead of a table.")
    ] = False,
    frames: Annotated[int | None, typer.Option(help="Number of frames.", min=1)] = None,
    camera: Annotated[str | None, typer.Option(help="A packaged camera or a YAML file.")] = None,
    psf: Annotated[str | None, typer.Option(help="A packaged PSF or a YAML file.")] = None,
    outside: Annotated[str, typer.Option(help="Emitters outside the depth range: error or drop.")] = "error",
    seed: Annotated[int, typer.Option(help="The same seed gives the same data.", min=0)] = 1,
    like: Annotated[
        Path | None, typer.Option("--like", help="Write a scene that imitates this table or movie instead.")
    ] = None,
    interval_s: Annotated[
        float | None, typer.Option(help="With --like: time from frame to frame, s, where the file does not say.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Simulate localizations or a camera movie, with the truth; or find the scene that resembles your own data."""
    with session(inputs=scene if like is None else like, as_json=json) as run:
        from lucule import simulate as room
        from lucule.cli import simulation
        from lucule.core import InputError

        if scene == "list":
            run.results = simulation.everything()
            return
        if like is not None:
            options = {"scene": scene, "camera": camera, "psf": psf, "interval_s": interval_s, "seed": seed}
            if dry_run:
                run.results = {"dry_run": True, "like": str(like), **options, "write": out and str(out)}
            else:
                run.results = simulation.write_imitation(like, out, progress=run.progress, **options)
            return
        if scene is None:
            raise InputError("Nothing to simulate is named", next_step="lucule simulate list")
        start = room.load(scene)
        optics = {"frames": frames, "camera": camera, "psf": psf}
        given = {name: value for name, value in optics.items() if value is not None}
        if isinstance(start, room.Scenario):
            if movie or given:
                wanted = ", ".join(f"--{name}" for name in ([*given, "movie"] if movie else given))
                raise InputError(
                    f"{scene} has positions only, neither frames nor optics", received=wanted,
                    next_step=f"choose one of the scenes {', '.join(room.scenes())}",
                )  # fmt: skip
            settings: Any = run.changed(start, config, set_)
        else:
            settings = simulation.changed_scene(start, config, set_)
        if dry_run:
            run.plan(settings, seed=seed, movie=movie, **given, write=out and str(out))
            return
        if out is None:
            raise InputError("The output is not named", next_step=f"lucule simulate {scene} --out FOLDER")
        write = simulation.write_movie if movie else simulation.write_table
        options = given if isinstance(settings, room.Scenario) else given | {"outside": outside}
        run.results = write(settings, out, seed=seed, progress=run.progress, **options)


def train(
    recipe: Annotated[
        Path, typer.Argument(help="Recipe, such as recipes/XPILJZ.yaml or recipes/localize_astigmatic.yaml.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for weights, card and log.")],
    budget: Annotated[str, typer.Option(help="How much to spend: full, gpu, cpu or smoke.")] = "full",
    device: DeviceOption = "auto",
    workers: Annotated[int | None, typer.Option(help="Processes that simulate; all cores by default.", min=1)] = None,
    folds: Annotated[
        int | None, typer.Option(help="Cross-validate: train that many networks, each without one part.", min=2)
    ] = None,
    psf: Annotated[
        str | None, typer.Option(help="localize: your PSF, a calibration (.h5), a YAML file or a packaged one.")
    ] = None,
    camera: Annotated[str | None, typer.Option(help="localize: your camera, a YAML file or a packaged one.")] = None,
    like: Annotated[
        Path | None, typer.Option("--like", help="localize: take light, density and blinking from this movie.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Train a network from a recipe; an interrupted training goes on where it stopped."""
    with session(inputs=recipe, as_json=json, resumes=True) as run:
        from lucule import models as room
        from lucule.core import InputError
        from lucule.workflows import training

        kind = training.kind_of(recipe)
        # the budget first, so that what the user sets by hand counts
        start = kind.Recipe.load(recipe).at(budget)
        seen = None
        if psf or camera or like:
            start, seen = training.for_microscope(start, psf=psf, camera=camera, movie=like, progress=run.progress)
        settings = run.changed(start, config, set_)
        if dry_run:
            run.plan(settings, budget=budget, folds=folds, like=seen, write=str(out))
            return
        options: dict[str, Any] = {"out": out, "device": device, "progress": run.progress}
        if "workers" in inspect.signature(kind.train).parameters:
            options["workers"] = workers
        elif workers is not None:
            raise InputError("This training simulates in its own process", received=f"--workers {workers}")
        if folds is not None:
            result = training.cross_validate(settings, folds=folds, **options)
            mean, deviation = result.accuracy
            run.results = {
                "folds": result.table().to_dicts(),
                "accuracy_mean": mean,
                "accuracy_standard_deviation": deviation,
                "written": str(out),
            }
            return
        kind.train(settings, **options)
        card = room.find(out).card
        run.results = {"model": card.name, "scores": card.scores, "like": seen, "written": str(out)}


def models(
    name: Annotated[str, typer.Argument(help="A model by name or folder, or `list`.")] = "list",
    export: Annotated[
        Path | None, typer.Option("--export", help="Write a localization network as ONNX to this file.")
    ] = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """List the packaged networks, show the card of one, or write one for other programs."""
    with session(inputs=name, as_json=json) as run:
        from lucule import models as room

        if export is not None:
            from lucule.localize import to_onnx

            run.results = {"model": name, "written": str(export if dry_run else to_onnx(name, export))}
        elif name == "list":
            run.results = {"models": [_line(card) for card in room.available()]}
        else:
            run.results = room.find(name).card.model_dump(mode="json")


def _line(card: Any) -> dict[str, Any]:
    return {"name": card.name, "task": card.task, "classes": ", ".join(card.classes), "title": card.title}
