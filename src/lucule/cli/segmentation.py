"""`lucule segment train|predict`: from a few annotated objects to all objects of an image or slide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lucule.cli.options import (
    ConfigOption,
    DeviceOption,
    DryRunOption,
    JsonOption,
    PixelSizeOption,
    SetOption,
    WorkersOption,
)
from lucule.cli.session import Session, session
from lucule.core.errors import InputError, LuculeError

DiameterOption = Annotated[
    float | None, typer.Option("--diameter-px", help="Typical extent of an object in the images, pixels.")
]

# so many objects without annotation, and as many as annotated ones, are no mistake of the network
_UNMARKED = 3
# of objects that were annotated and not trained on: below it, most of them are missed or misshapen
_POOR_DICE = 0.6

segment = typer.Typer(help="Find objects in images with a network trained on a few of them.", no_args_is_help=True)


@segment.command()
def train(
    images: Annotated[Path, typer.Argument(help="Image or folder of images: TIFF, PNG, JPEG, .npy; grey or colour.")],
    masks: Annotated[
        Path,
        typer.Argument(help="Annotations by the names of the images: label images, masks, ImageJ ROIs, GeoJSON."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for weights and card.")],
    classes: Annotated[str | None, typer.Option(help="Names of the classes, as cell,node.")] = None,
    kind: Annotated[str, typer.Option(help="What numbers mean: auto, labels, mask, classes or strokes.")] = "auto",
    some: Annotated[bool, typer.Option("--some", help="Not every object in the images is annotated.")] = False,
    seconds: Annotated[float | None, typer.Option(help="Time for the training, s.", min=1)] = None,
    architecture: Annotated[str | None, typer.Option(help="compact or deeplabv3_resnet101.")] = None,
    start: Annotated[str | None, typer.Option(help="Model to start from, or none.")] = None,
    diameter_px: DiameterOption = None,
    pixel_size_nm: PixelSizeOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the training.", min=0)] = 1,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Train a network on images with 1 to 25 annotated objects; takes minutes, also without a GPU."""
    with session(inputs=[images, masks], as_json=json, resumes=True) as run:
        from lucule import models
        from lucule import segment as room

        given: dict[str, Any] = {"architecture": architecture}
        if seconds is not None:
            given["fit"] = room.TrainSettings().fit.replace(seconds=seconds).model_dump()
        begin = room.TrainSettings()
        if start is not None or architecture not in (None, begin.architecture):
            begin = room.TrainSettings(start=None if start in (None, "none") else start)
        settings = run.changed(begin, config, set_, **given)
        if dry_run:
            run.plan(settings, read=[str(images), str(masks)], write=str(out))
            return
        room.train(
            images, masks, out=out, settings=settings, names=_names(classes), kind=kind,  # type: ignore[arg-type]
            everything=not some, pixel_size_nm=pixel_size_nm, diameter_px=diameter_px, seed=seed, device=device,
            progress=run.progress,
        )  # fmt: skip
        card = models.find(out).card
        run.results = {
            "classes": list(card.classes[1:]),
            "objects": int(card.scores["train_objects"]),
            "steps": int(card.scores["train_steps"]),
            "seconds": card.scores["train_seconds"],
            "train_dice": card.scores["train_dice"],
            **{
                name: value
                for name, value in card.scores.items()
                if name.startswith(("kept_", "unseen_", "train_dice_"))
            },
            "decision": card.notes or None,
            "written": str(out),
        }
        if (dice := card.scores.get("unseen_dice_after", 1.0)) < _POOR_DICE:
            run.warnings.append(
                f"Objects that were left out of training are found poorly (Dice {dice:.2f}): check that the "
                "annotations fit the images, annotate more objects, or train longer (--seconds)"
            )
        more = int(card.scores.get("unmarked_objects", 0))
        if more >= max(_UNMARKED, run.results["objects"]):
            run.warnings.append(
                f"About {more} more objects are seen in the images. What is not annotated was taken for background: "
                "annotate all objects of an image, or add --some"
            )


@segment.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of them; large ones are read in tiles.")],
    model: Annotated[str, typer.Option(help="A network by name or folder; see `lucule models`.")],
    out: Annotated[Path, typer.Option("--out", help="Table of objects to write (.parquet, .csv).")],
    overlay: Annotated[
        Path | None, typer.Option(help="Picture with the outlines (.png); of several images one each.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Folder for label images (TIFF).")] = None,
    threshold: Annotated[float | None, typer.Option(help="Smallest probability of a pixel.", min=0, max=1)] = None,
    confidence: Annotated[
        float | None, typer.Option(help="Smallest mean probability of an object.", min=0, max=1)
    ] = None,
    views: Annotated[int | None, typer.Option(help="Turned views that are averaged: 1, 4 or 8.")] = None,
    tile_px: Annotated[int | None, typer.Option("--tile-px", help="Side of a tile, pixels.", min=32)] = None,
    dark: Annotated[
        bool | None,
        typer.Option("--dark/--bright", help="Objects are darker, or brighter, than around them; else as in training."),
    ] = None,
    positions: Annotated[
        Path | None,
        typer.Option(help="The images are tiles of one slide: CSV with image, x_px, y_px of their corners."),
    ] = None,
    diameter_px: DiameterOption = None,
    pixel_size_nm: PixelSizeOption = None,
    stage: Annotated[str | None, typer.Option(help="Stage position of a pixel: six numbers a,b,x,c,d,y, um.")] = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Find all objects, with class, confidence, area, outline and position."""
    with session(inputs=images, as_json=json) as run:
        from lucule import segment as room
        from lucule.segment import objects
        from lucule.segment.batch import predict_files
        from lucule.segment.images import image_files
        from lucule.view import picture

        settings = run.changed(
            room.PredictSettings(), config, set_, threshold=threshold, confidence=confidence, views=views,
            tile_px=tile_px, dark=dark,
        )  # fmt: skip
        # what cannot be written is refused before hours of work
        objects.check_name(out)
        if overlay is not None:
            picture.check_name(overlay)
        sources: list[Any] = [file for path in images for file in (image_files(path) if path.is_dir() else [path])]
        if positions is not None:
            from lucule.segment.mosaic import read_positions

            sources = [read_positions(positions, images)]
        if dry_run:
            run.plan(settings, read=[str(path) for path in images], model=model, write=str(out))
            return
        batch = predict_files(
            sources, model, settings=settings, pixel_size_nm=pixel_size_nm, diameter_px=diameter_px,
            stage=_stage(stage), device=device, workers=workers, progress=run.progress,
        )  # fmt: skip
        table = batch.table()
        run.results = {"objects": len(table), "images": [outcome.line() for outcome in batch.outcomes]}
        _report(run, batch)
        run.results["written"] = str(objects.save(table, out))
        for source, outcome, stem in zip(sources, batch.outcomes, _stems(sources), strict=True):
            if outcome.found is None:
                continue
            try:
                _pictures(run, source, outcome.found, overlay, labels, pixel_size_nm, stem, several=len(sources) > 1)
            except (LuculeError, OSError, MemoryError) as error:
                run.warnings.append(f"No picture of {outcome.image}: {error or type(error).__name__}")
        if batch.failed == len(batch.outcomes):
            run.exit_code = 1


def _report(run: Session, batch: Any) -> None:
    for outcome in batch.outcomes:
        if outcome.found is None:
            run.warnings.append(f"{outcome.image} was left out: {outcome.error}")
        else:
            run.warnings += [*outcome.found.warnings, *([outcome.found.reason] if outcome.found.reason else [])]


def _pictures(
    run: Session, source: Any, found: Any, overlay: Path | None, labels: Path | None, pixel_size_nm: float | None,
    stem: str, *, several: bool,
) -> None:  # fmt: skip
    from lucule.core.files import atomic_path
    from lucule.segment import open_image

    if overlay is not None:
        with open_image(source) as image:
            from lucule.view.segmentation import objects_overlay

            target = overlay.with_name(f"{overlay.stem}_{stem}{overlay.suffix}") if several else overlay
            picture = objects_overlay(image, found.objects, found.classes, pixel_size_nm=pixel_size_nm)
            picture.save(target, scale_bar=pixel_size_nm is not None)
            _listed(run, "overlay", str(target))
    if labels is not None:
        import tifffile

        target = labels / f"{stem}_labels.tif"
        with atomic_path(target) as temporary:
            tifffile.imwrite(temporary, found.labels(), compression="zlib")
        _listed(run, "labels", str(target))


def _stems(sources: Sequence[Any]) -> list[str]:
    """Names for the pictures of each image: without endings, as long as that tells them apart."""
    paths = [Path(getattr(source, "name", source)) for source in sources]
    times = Counter(path.stem for path in paths)
    names = [path.stem if times[path.stem] == 1 else path.name.replace(".", "_") for path in paths]
    return [f"{name}_{names[:number].count(name) + 1}" if names.count(name) > 1 else name
            for number, name in enumerate(names)]  # fmt: skip


def _listed(run: Session, key: str, value: str) -> None:
    if run.results is not None:
        run.results.setdefault(key, []).append(value)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _stage(text: str | None) -> list[list[float]] | None:
    if text is None:
        return None
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 6:
        raise InputError("--stage cannot be used", received=text,
                         allowed="six numbers a,b,x,c,d,y: stage x = a column + b row + x, um")  # fmt: skip
    return [numbers[:3], numbers[3:]]
