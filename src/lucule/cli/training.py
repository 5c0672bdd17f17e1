"""`lucule simulate`, `lucule train`, `lucule models`: data with the truth, and networks made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lucule.cli.options import ConfigOption, DeviceOption, DryRunOption, JsonOption, SetOption
from lucule.cli.session import session


def simulate(
    scenario: Annotated[str, typer.Argument(help="A packaged scenario, a YAML file, or `list`.")],
    out: Annotated[Path | None, typer.Option("--out", help="Table to write; its ending chooses the format.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same table.", min=0)] = 1,
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Simulate localizations with their truth (columns `true_label` and `true_cluster`)."""
    with session(inputs=scenario, as_json=json) as run:
        from lucule import io
        from lucule import simulate as room
        from lucule.core import InputError

        if scenario == "list":
            run.results = {"scenarios": [{"name": name} | room.load(name).model_dump() for name in room.available()]}
            return
        start = room.Scenario.from_yaml(Path(scenario)) if scenario.endswith((".yaml", ".yml")) else room.load(scenario)
        settings = run.changed(start, config, set_)
        if dry_run:
            run.plan(settings, seed=seed, write=out and str(out))
            return
        if out is None:
            raise InputError("The output is not named", next_step=f"lucule simulate {scenario} --out TABLE.csv")
        locs = room.simulate(settings, seed=seed)
        io.write(locs, out)
        clusters = int(locs["true_cluster"].max()) + 1
        run.results = {"localizations": len(locs), "clusters": clusters, "seed": seed, "written": str(out)}


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe, such as recipes/XPILJZ.yaml.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for weights, card and log.")],
    budget: Annotated[str, typer.Option(help="How much to spend: full, cpu or smoke.")] = "full",
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    set_: SetOption = [],  # noqa: B006
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Train a network from a recipe; an interrupted training goes on where it stopped."""
    with session(inputs=recipe, as_json=json) as run:
        from lucule import classify
        from lucule import models as room

        settings = run.changed(classify.Recipe.load(recipe), config, set_)
        if dry_run:
            run.plan(settings, budget=budget, write=str(out))
            return
        classify.train(settings, out=out, budget=budget, device=device, progress=run.progress)
        card = room.find(out).card
        run.results = {"model": card.name, "scores": card.scores, "written": str(out)}


def models(
    name: Annotated[str, typer.Argument(help="A model by name or folder, or `list`.")] = "list",
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """List the packaged networks, or show the card of one."""
    with session(inputs=name, as_json=json) as run:
        from lucule import models as room

        del dry_run  # nothing is ever changed here
        if name == "list":
            run.results = {"models": [_line(card) for card in room.available()]}
        else:
            run.results = room.find(name).card.model_dump(mode="json")


def _line(card: Any) -> dict[str, Any]:
    return {"name": card.name, "task": card.task, "classes": ", ".join(card.classes), "title": card.title}
